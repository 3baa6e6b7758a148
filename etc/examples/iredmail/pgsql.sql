-- The tables of iRedMail's database vmail that authpgsqlrc reads, with the columns that matter to logins, and
-- two mailboxes.
CREATE TABLE domain (
	domain               varchar(255) NOT NULL DEFAULT '' PRIMARY KEY,
	transport            varchar(255) NOT NULL DEFAULT 'dovecot',
	expired              timestamp without time zone NOT NULL DEFAULT '9999-12-31 00:00:00',
	active               int2 NOT NULL DEFAULT 1
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
	quota                int8 NOT NULL DEFAULT 0,
	domain               varchar(255) NOT NULL DEFAULT '',
	transport            varchar(255) NOT NULL DEFAULT '',
	department           varchar(255) NOT NULL DEFAULT '',
	rank                 varchar(255) NOT NULL DEFAULT 'normal',
	employeeid           varchar(255) NOT NULL DEFAULT '',
	isadmin              int2 NOT NULL DEFAULT 0,
	isglobaladmin        int2 NOT NULL DEFAULT 0,
	enablesmtp           int2 NOT NULL DEFAULT 1,
	enablesmtpsecured    int2 NOT NULL DEFAULT 1,
	enablepop3           int2 NOT NULL DEFAULT 1,
	enablepop3secured    int2 NOT NULL DEFAULT 1,
	enablepop3tls        int2 NOT NULL DEFAULT 1,
	enableimap           int2 NOT NULL DEFAULT 1,
	enableimapsecured    int2 NOT NULL DEFAULT 1,
	enableimaptls        int2 NOT NULL DEFAULT 1,
	enabledeliver        int2 NOT NULL DEFAULT 1,
	enablelda            int2 NOT NULL DEFAULT 1,
	passwordlastchange   timestamp without time zone NOT NULL DEFAULT '1970-01-01 01:01:01',
	created              timestamp without time zone NOT NULL DEFAULT '1970-01-01 01:01:01',
	modified             timestamp without time zone NOT NULL DEFAULT '1970-01-01 01:01:01',
	expired              timestamp without time zone NOT NULL DEFAULT '9999-12-31 00:00:00',
	active               int2 NOT NULL DEFAULT 1,
	PRIMARY KEY (username)
);

INSERT INTO domain (domain) VALUES ('example.com');
INSERT INTO mailbox (username, password, name, storagebasedirectory, storagenode, maildir, quota, domain,
		enablepop3) VALUES
	('anna@example.com', '{PLAIN}secret', 'Anna', '/var/vmail', 'vmail1',
		'example.com/a/n/n/anna-2026/', 1024, 'example.com', 1),
	('bert@example.com', '{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=', 'Bert', '/var/vmail', 'vmail1',
		'example.com/b/e/r/bert-2026/', 0, 'example.com', 0);
