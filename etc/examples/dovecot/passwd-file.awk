#!/usr/bin/awk -f
# Makes a userdb for authuserdb of a passwd-file of Dovecot:
#	awk -v uid=5000 -v gid=5000 -v home=/srv/mail -f passwd-file.awk users >userdb; chmod 600 userdb
# uid, gid and home (with the user's name behind it) stand for fields that are empty. "host=" and "port=" of
# the extra fields are the mailhost; without it DEFAULTOPTIONS="mailhost=..." in authdaemonrc. Accounts with
# "nologin" are left out, and so are those that userdb cannot hold, with a word on standard error.

BEGIN { FS = ":" }
/^[ \t]*(#|$)/ { next }
{
	extra = ""
	for (i = 8; i <= NF; i++)
		extra = extra (i > 8 ? ":" : "") $i
	host = ""
	port = ""
	skip = 0
	n = split(extra, fields, /[ \t]+/)
	for (i = 1; i <= n; i++) {
		if (fields[i] ~ /^host=/)
			host = substr(fields[i], 6)
		if (fields[i] ~ /^port=/)
			port = substr(fields[i], 6)
		if (fields[i] ~ /^nologin(=|$)/)
			skip = 1
	}
	if (skip)
		next
	line = "uid=" ($3 != "" ? $3 : uid) "|gid=" ($4 != "" ? $4 : gid) "|home=" ($6 != "" ? $6 : home "/" $1)
	if (host != "")
		line = line "|options=mailhost=" host (port != "" ? ":" port : "")
	if (($1 $2 $6 host port) ~ /[|\t]/) {
		print FILENAME ":" FNR ": " $1 ": userdb cannot hold a | or a TAB" >"/dev/stderr"
		next
	}
	print $1 "\t" line "|systempw=" $2
}
