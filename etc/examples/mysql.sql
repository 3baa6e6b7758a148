-- A table for authmysqlrc, and a user who may read it (and change passwords, if authdaemond is to do that).
CREATE TABLE accounts (
	address  VARCHAR(190) CHARACTER SET utf8mb4 NOT NULL PRIMARY KEY,
	crypt    VARCHAR(255) NOT NULL DEFAULT '',   -- $6$..., $y$..., {SSHA256}..., see authdaemond(8)
	clear    VARCHAR(255) NOT NULL DEFAULT '',   -- for CRAM-MD5 and its kin only
	uid      INT UNSIGNED NOT NULL DEFAULT 5000, -- not 0: root's mail is not served
	gid      INT UNSIGNED NOT NULL DEFAULT 5000,
	home     VARCHAR(255) NOT NULL,
	maildir  VARCHAR(255) NOT NULL DEFAULT '',   -- relative to home; '' = Maildir
	quota    VARCHAR(64)  NOT NULL DEFAULT '',
	name     VARCHAR(190) CHARACTER SET utf8mb4 NOT NULL DEFAULT '',
	mailhost VARCHAR(255) NOT NULL DEFAULT ''    -- the server with the mailbox: host, host:port, or several
);

INSERT INTO accounts (address, clear, home, mailhost) VALUES
	('anna@example.com', 'secret', '/srv/mail/anna', 'mail1.example.com'),
	('bert@example.com', 'secret', '/srv/mail/bert', 'mail2.example.com:1143');

CREATE USER mailproxy@localhost IDENTIFIED BY 'change-me';
GRANT SELECT, UPDATE (crypt, clear) ON accounts TO mailproxy@localhost;
