-- The tables of iRedMail's database vmail that authmysqlrc reads, with the columns that matter to logins, and
-- two mailboxes.
CREATE TABLE domain (
	domain               varchar(255) NOT NULL DEFAULT '' PRIMARY KEY,
	transport            varchar(255) NOT NULL DEFAULT 'dovecot',
	expired              datetime NOT NULL DEFAULT '9999-12-31 00:00:00',
	active               tinyint(1) NOT NULL DEFAULT 1
);

CREATE TABLE mailbox (
	username             varchar(255) NOT NULL DEFAULT '',
	password             varchar(255) NOT NULL DEFAULT '',
	name                 varchar(255) NOT NULL DEFAULT '',
	language             varchar(5) NOT NULL DEFAULT '',
	mailboxformat        varchar(50) NOT NULL DEFAULT 'maildir',
	mailboxfolder        varchar(50) NOT NULL DEFAULT 'Maildir',
	storagebasedirectory varchar(255) NOT NULL DEFAULT '',
	storagenode          varchar(255) NOT NULL DEFAULT '',
	maildir              varchar(255) NOT NULL DEFAULT '',
	quota                bigint(20) NOT NULL DEFAULT 0,
	domain               varchar(255) NOT NULL DEFAULT '',
	transport            varchar(255) NOT NULL DEFAULT '',
	department           varchar(255) NOT NULL DEFAULT '',
	`rank`               varchar(255) NOT NULL DEFAULT 'normal',
	employeeid           varchar(255) NOT NULL DEFAULT '',
	isadmin              tinyint(1) NOT NULL DEFAULT 0,
	isglobaladmin        tinyint(1) NOT NULL DEFAULT 0,
	enablesmtp           tinyint(1) NOT NULL DEFAULT 1,
	enablesmtpsecured    tinyint(1) NOT NULL DEFAULT 1,
	enablepop3           tinyint(1) NOT NULL DEFAULT 1,
	enablepop3secured    tinyint(1) NOT NULL DEFAULT 1,
	enablepop3tls        tinyint(1) NOT NULL DEFAULT 1,
	enableimap           tinyint(1) NOT NULL DEFAULT 1,
	enableimapsecured    tinyint(1) NOT NULL DEFAULT 1,
	enableimaptls        tinyint(1) NOT NULL DEFAULT 1,
	enabledeliver        tinyint(1) NOT NULL DEFAULT 1,
	enablelda            tinyint(1) NOT NULL DEFAULT 1,
	passwordlastchange   datetime NOT NULL DEFAULT '1970-01-01 01:01:01',
	created              datetime NOT NULL DEFAULT '1970-01-01 01:01:01',
	modified             datetime NOT NULL DEFAULT '1970-01-01 01:01:01',
	expired              datetime NOT NULL DEFAULT '9999-12-31 00:00:00',
	active               tinyint(1) NOT NULL DEFAULT 1,
	PRIMARY KEY (username)
);

INSERT INTO domain (domain) VALUES ('example.com');
INSERT INTO mailbox (username, password, name, storagebasedirectory, storagenode, maildir, quota, domain,
		enablepop3) VALUES
	('anna@example.com', '{PLAIN}secret', 'Anna', '/var/vmail', 'vmail1',
		'example.com/a/n/n/anna-2026/', 1024, 'example.com', 1),
	('bert@example.com', '{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=', 'Bert', '/var/vmail', 'vmail1',
		'example.com/b/e/r/bert-2026/', 0, 'example.com', 0);
