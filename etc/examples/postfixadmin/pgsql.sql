-- The tables of Postfix Admin that authpgsqlrc reads, columns and types as its setup makes them, with two
-- mailboxes.
CREATE TABLE domain (
	domain          character varying(255) NOT NULL PRIMARY KEY,
	description     character varying(255) NOT NULL DEFAULT '',
	aliases         integer NOT NULL DEFAULT 0,
	mailboxes       integer NOT NULL DEFAULT 0,
	maxquota        bigint NOT NULL DEFAULT 0,
	quota           bigint NOT NULL DEFAULT 0,
	transport       character varying(255) DEFAULT NULL,
	backupmx        boolean NOT NULL DEFAULT false,
	created         timestamp with time zone DEFAULT now(),
	modified        timestamp with time zone DEFAULT now(),
	active          boolean NOT NULL DEFAULT true,
	password_expiry integer DEFAULT 0
);

CREATE TABLE mailbox (
	username        character varying(255) NOT NULL PRIMARY KEY, -- the whole address
	password        character varying(255) NOT NULL DEFAULT '',  -- $1$..., or {SCHEME}... (dovecotpw)
	name            character varying(255) NOT NULL DEFAULT '',
	maildir         character varying(255) NOT NULL DEFAULT '',  -- example.com/anna/
	quota           bigint NOT NULL DEFAULT 0,                   -- bytes
	created         timestamp with time zone DEFAULT now(),
	modified        timestamp with time zone DEFAULT now(),
	active          boolean NOT NULL DEFAULT true,
	domain          character varying(255) REFERENCES domain (domain),
	local_part      character varying(255) NOT NULL,
	phone           character varying(30) NOT NULL DEFAULT '',
	email_other     character varying(255) NOT NULL DEFAULT '',
	token           character varying(255) NOT NULL DEFAULT '',
	token_validity  timestamp with time zone DEFAULT now(),
	password_expiry timestamp with time zone DEFAULT now()
);

INSERT INTO domain (domain) VALUES ('example.com');
INSERT INTO mailbox (username, password, name, maildir, quota, local_part, domain) VALUES
	('anna@example.com', '{PLAIN}secret', 'Anna', 'example.com/anna/', 10240000, 'anna', 'example.com'),
	('bert@example.com', '{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=', 'Bert', 'example.com/bert/', 0, 'bert',
		'example.com');
