-- The tables of Postfix Admin that authmysqlrc reads, columns and types as its setup makes them, with two
-- mailboxes.
CREATE TABLE domain (
	domain          varchar(255) NOT NULL PRIMARY KEY,
	description     varchar(255) CHARACTER SET utf8mb4 NOT NULL DEFAULT '',
	aliases         int NOT NULL DEFAULT 0,
	mailboxes       int NOT NULL DEFAULT 0,
	maxquota        bigint NOT NULL DEFAULT 0,
	quota           bigint NOT NULL DEFAULT 0,
	transport       varchar(255) NOT NULL DEFAULT 'virtual',
	backupmx        tinyint(1) NOT NULL DEFAULT 0,
	created         datetime NOT NULL DEFAULT '2000-01-01 00:00:00',
	modified        datetime NOT NULL DEFAULT '2000-01-01 00:00:00',
	active          tinyint(1) NOT NULL DEFAULT 1,
	password_expiry int DEFAULT 0
) DEFAULT CHARSET=latin1 COLLATE=latin1_general_ci;

CREATE TABLE mailbox (
	username        varchar(255) NOT NULL PRIMARY KEY, -- the whole address
	password        varchar(255) NOT NULL,             -- $1$..., or {SCHEME}... where dovecotpw makes them
	name            varchar(255) CHARACTER SET utf8mb4 NOT NULL,
	maildir         varchar(255) NOT NULL,             -- example.com/anna/
	quota           bigint NOT NULL DEFAULT 0,         -- bytes
	local_part      varchar(255) NOT NULL,
	domain          varchar(255) NOT NULL,
	created         datetime NOT NULL DEFAULT '2000-01-01 00:00:00',
	modified        datetime NOT NULL DEFAULT '2000-01-01 00:00:00',
	active          tinyint(1) NOT NULL DEFAULT 1,
	phone           varchar(30) NOT NULL DEFAULT '',
	email_other     varchar(255) NOT NULL DEFAULT '',
	token           varchar(255) NOT NULL DEFAULT '',
	token_validity  datetime NOT NULL DEFAULT '2000-01-01 00:00:00',
	password_expiry datetime NOT NULL DEFAULT '2000-01-01 00:00:00',
	KEY domain (domain)
) DEFAULT CHARSET=latin1 COLLATE=latin1_general_ci;

INSERT INTO domain (domain) VALUES ('example.com');
INSERT INTO mailbox (username, password, name, maildir, quota, local_part, domain) VALUES
	('anna@example.com', '{PLAIN}secret', 'Anna', 'example.com/anna/', 10240000, 'anna', 'example.com'),
	('bert@example.com', '{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=', 'Bert', 'example.com/bert/', 0, 'bert',
		'example.com');
