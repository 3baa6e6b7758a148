-- A table for authpgsqlrc, and a role that may read it (and change passwords, if authdaemond is to do that).
CREATE TABLE accounts (
	address  text    NOT NULL PRIMARY KEY,
	crypt    text    NOT NULL DEFAULT '',   -- $6$..., $y$..., {SSHA256}..., see authdaemond(8)
	clear    text    NOT NULL DEFAULT '',   -- for CRAM-MD5 and its kin only
	uid      integer NOT NULL DEFAULT 5000, -- not 0: root's mail is not served
	gid      integer NOT NULL DEFAULT 5000,
	home     text    NOT NULL,
	maildir  text    NOT NULL DEFAULT '',   -- relative to home; '' = Maildir
	quota    text    NOT NULL DEFAULT '',
	name     text    NOT NULL DEFAULT '',
	mailhost text    NOT NULL DEFAULT ''    -- the server with the mailbox: host, host:port, or several
);

INSERT INTO accounts (address, clear, home, mailhost) VALUES
	('anna@example.com', 'secret', '/srv/mail/anna', 'mail1.example.com'),
	('bert@example.com', 'secret', '/srv/mail/bert', 'mail2.example.com:1143');

CREATE ROLE mailproxy LOGIN PASSWORD 'change-me';
GRANT SELECT, UPDATE (crypt, clear) ON accounts TO mailproxy;
