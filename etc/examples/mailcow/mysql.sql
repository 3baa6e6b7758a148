-- The tables of mailcow that authmysqlrc reads, and two mailboxes.
CREATE TABLE domain (
	domain              varchar(255) NOT NULL PRIMARY KEY,
	backupmx            tinyint(1) NOT NULL DEFAULT 0,
	active              tinyint(1) NOT NULL DEFAULT 1
) DEFAULT CHARSET=utf8mb4;

CREATE TABLE mailbox (
	username            varchar(255) NOT NULL PRIMARY KEY,
	password            varchar(255) NOT NULL, -- {BLF-CRYPT}... by default
	name                varchar(255),
	description         varchar(255),
	mailbox_path_prefix varchar(150) DEFAULT '/var/vmail/',
	quota               bigint(20) NOT NULL DEFAULT 102400, -- bytes
	local_part          varchar(255) NOT NULL,
	domain              varchar(255) NOT NULL,
	attributes          json,                  -- {"imap_access": "1", "pop3_access": "1", ...}
	custom_attributes   json NOT NULL DEFAULT ('{}'),
	kind                varchar(100) NOT NULL DEFAULT '', -- location, thing, group: nobody logs in
	multiple_bookings   int NOT NULL DEFAULT -1,
	authsource          enum('mailcow', 'keycloak', 'generic-oidc', 'ldap') DEFAULT 'mailcow',
	created             datetime NOT NULL DEFAULT now(),
	modified            datetime ON UPDATE CURRENT_TIMESTAMP,
	active              tinyint(1) NOT NULL DEFAULT 1, -- 2: takes mail, no login
	KEY domain (domain)
) DEFAULT CHARSET=utf8mb4;

INSERT INTO domain (domain) VALUES ('example.com');
INSERT INTO mailbox (username, password, name, quota, local_part, domain, attributes) VALUES
	('anna@example.com', '{PLAIN}secret', 'Anna', 10240000, 'anna', 'example.com',
		'{"imap_access": "1", "pop3_access": "1"}'),
	('bert@example.com', '{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=', 'Bert', 0, 'bert', 'example.com',
		'{"imap_access": "1", "pop3_access": "0"}');
