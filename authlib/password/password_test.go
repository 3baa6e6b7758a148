package password

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"mailproxy/authlib"
)

// x80 is a password longer than any block or limit: bcrypt looks at 72 bytes, DES at 8, HMAC-MD5 hashes
// beyond 64.
var x80 = strings.Repeat("x", 80)

// vectors were printed by libxcrypt's crypt(3), doveadm pw, userdbpw and openssl.
var vectors = []struct{ hash, clear string }{
	{`$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1`, `secret`},
	{`$1$abcdefgh$M55TzYaaccxVGbptZWaxX/`, ``},
	{`$1$abcdefgh$xYuxUFvxUOR4Pd6a7EeUS0`, `pässwörd`},
	{`$1$abcdefgh$06aFAnVfqM7H4kDMwscRI1`, x80},
	{`$1$ab$dslkcXxVH.x8LwW1W/oAB/`, `secret`},
	{`$1$ab$rn6aQS/o7141mj179E/zA.`, ``},
	{`$1$ab$bRZzLnQPD1ql12pSoshc71`, `pässwörd`},
	{`$1$ab$sGk3avZ55QGAtnG67.eqQ0`, x80},
	{`$5$saltstring$C3o4O1TC6aRHF4FI.QSZMXtHbaj2gSXr4sUc/3NcUi.`, `secret`},
	{`$5$saltstring$FdNfA4gXqvCeO6iZs7G/.wwwoywYZqo0l1pwmfWaBA7`, ``},
	{`$5$saltstring$bWOoCRTKNT.aiY/gJjvk1HjBYuRpcYQmcc5hqf6H4T4`, `pässwörd`},
	{`$5$saltstring$jZdy2gGq0OUSP01AhBb7yOgBitgAZa7g8axx/wgsXj5`, x80},
	{`$5$rounds=1500$saltstringlonger$lZbzPFs3FpdvZ6Fr1JUA5Wa.g1QhDmZbaA97jbIfdZ9`, `secret`},
	{`$5$rounds=1500$saltstringlonger$vq506bBcnD7E0odXmrdPjza5q6pj07/dEBcMhHRlra1`, ``},
	{`$5$rounds=1500$saltstringlonger$UscS.ZFcUa466VCdWQt.5.x9zvFiYnciubtsvNWNfZ4`, `pässwörd`},
	{`$5$rounds=1500$saltstringlonger$5U/XZPd/zWMh.7f0TjOEbnU2B.dpr.gD640vsQOn/F9`, x80},
	{`$6$saltstring$AIsRs/Ee56G/tC8MEHhvReZTfx8u3rXXMl6eYrjCG9ibix19DxoMBLogdTET5Ukw9Sf7eZTITsuk0Ry5qulYz.`,
		`secret`},
	{`$6$saltstring$kyGrqt6gmjAdtFLPrflEFifSYLCWWq1pyx95SvqinLDy2UHmj0sTF0MSLMwxPFZc3tu5kQckI8fks0zOPda3n1`, ``},
	{`$6$saltstring$6PSVl254uv0cWCoUS0qzSX5NenRA/YFCwPzGA9ONu.MmmxqXTWHerEzD8WyuBl3ukfIZZU9uxLD6Bn6p7S3rG.`,
		`pässwörd`},
	{`$6$saltstring$eKlwYdh2DQgzGVZNTRbDdwNSIU.yzEhS/nALlBafFhL/T/Kf8GRhO5otN52zAGQKa229QbUXUyFPbCMzMf2HX0`,
		x80},
	{`$6$rounds=10000$sa$DTsAhGxO9pApSiH.WPHVbInJMPS3fr1VZsABmkSduYFdRXvvls6UW91o7SXzi5MNY9SzbN34iSxD2EN7orsaB.`,
		`secret`},
	{`$6$rounds=10000$sa$FCGsFp5ynyJDXrb7BDqHA8m8glq9hfGafAegBz8PtI2l1bNjCrjv4CAqpYcWlO1T.yz4XlmdMSO2wBQv/5CJ51`,
		``},
	{`$6$rounds=10000$sa$4ppo7YKNGX8HvsIZSg/ohjhOFzPWR2OkkugYxFf2xMUQ/KN2r5wUoHU1qqUsBAi3BqZ/cayszbvEDMzeDTe0K.`,
		`pässwörd`},
	{`$6$rounds=10000$sa$m0iUMCf/aTgbwhIpLFfAQ7gG0ezE7nbTIO/7/GJUHeE4gFq/SOnFZLfXYwUMq9Y3/Brv7hAD36ZNEgXRJv/Qr.`,
		x80},
	{`$2a$05$CCCCCCCCCCCCCCCCCCCCC.pIKrLVkBX9/OvQMSygY1pWEVn72t6na`, `secret`},
	{`$2a$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy`, ``},
	{`$2a$05$CCCCCCCCCCCCCCCCCCCCC.VbkrrNItU.9NIb/IkEA2mwWrOjK5F3G`, `pässwörd`},
	{`$2a$05$CCCCCCCCCCCCCCCCCCCCC.D7RDOYXakZhsFmh/LdqQNx0kQ424AFS`, x80},
	{`$2b$04$CCCCCCCCCCCCCCCCCCCCC.4K7lyz.nKATbsiu/RcZjqWyDNnj87qG`, `secret`},
	{`$2b$04$CCCCCCCCCCCCCCCCCCCCC.Cg0ly9t/KVBCBYYDfOmZKwry9JuXClC`, ``},
	{`$2b$04$CCCCCCCCCCCCCCCCCCCCC.r5gqJaIw/Et6H9KstP3pEKn0VB0g6zW`, `pässwörd`},
	{`$2b$04$CCCCCCCCCCCCCCCCCCCCC.ug0A3dTXhy5U.dFjx/qguZ8I4CB77BC`, x80},
	{`$2y$05$CCCCCCCCCCCCCCCCCCCCC.pIKrLVkBX9/OvQMSygY1pWEVn72t6na`, `secret`},
	{`$2y$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy`, ``},
	{`$2y$05$CCCCCCCCCCCCCCCCCCCCC.VbkrrNItU.9NIb/IkEA2mwWrOjK5F3G`, `pässwörd`},
	{`$2y$05$CCCCCCCCCCCCCCCCCCCCC.D7RDOYXakZhsFmh/LdqQNx0kQ424AFS`, x80},
	{`$y$j9T$F5Jx5fExrKuPp53xLKQ..1$GmcwIgvdUC9qLWcKCi6gklUa1dM3ziD43YxYNURLKy0`, `secret`},
	{`$y$j9T$F5Jx5fExrKuPp53xLKQ..1$5P1uc1zvKhieqEtKttbwCQrTPXpY1cK9wEnTDKAqLD8`, ``},
	{`$y$j9T$F5Jx5fExrKuPp53xLKQ..1$UAi3w.V1khOnmiQzfq00d7LaG6KfSe9MVbNef5kSs64`, `pässwörd`},
	{`$y$j9T$F5Jx5fExrKuPp53xLKQ..1$0NqgOK/tvEjU./wvH7sJ/.sUhMDBpijcNkH04DGPyLC`, x80},
	{`$y$j75$F5Jx5fExrKuPp53xLKQ..1$l5YiXCKNY/N9ezall4xjJAFS/wg.kWVcFXfOzyxVn1.`, `secret`},
	{`$y$j75$F5Jx5fExrKuPp53xLKQ..1$c8tztuygy5KLG6.YQ9M73I8HxQwBhNB/SZP9PahpzX8`, ``},
	{`$y$j75$F5Jx5fExrKuPp53xLKQ..1$6CtWHIo9AYmAiP3RSdcishOeT8A6FKi.zcwcWlRNV16`, `pässwörd`},
	{`$y$j75$F5Jx5fExrKuPp53xLKQ..1$6la4FjjLzAZZaLz/HUyMJAaSt3K5wLUz4EYHOANnCuC`, x80},
	{`abNANd1rDfiNc`, `secret`},
	{`abmF1QH4PEr.E`, ``},
	{`abzp3RXJm5gNA`, `pässwörd`},
	{`abzDJoqKYZJww`, x80},
	{`/.4WmlAsvgZlI`, `secret`},
	{`/.elhbtlysKy6`, ``},
	{`/./3Qnxcs5Pz2`, `pässwörd`},
	{`/.5eTBMGzOjhA`, x80},
	{`zZ5x4y8hS4SZE`, `secret`},
	{`zZO7u0HfQST3A`, ``},
	{`zZw8laZTywrOQ`, `pässwörd`},
	{`zZ1cP1Y42z2tI`, x80},
	{`{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=`, `secret`},
	{`{SHA256}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=`, `secret`},
	{`{SHA512}vSsar3708Jvp9Szi2NWZZ02Bqp1qRCFpbcTZPdBhnWgs5WtNZKnvCXdhztmeD2cmW192CF5bDufKRpayrW/isg==`,
		`secret`},
	{`{SSHA}uYTWQ3QST/gyog6UAlLJQZPIekIi9ySm`, `secret`},
	{`{SSHA256}978cm61Hl3vRmyVEnt9+J3hpIUAgX5GkyuyyXBhK2n3/Ver1`, `secret`},
	{`{SSHA512}OwG/VnJad/e0OITTH4c8gfRY6AaaxT5/ABFMDdUi3l7o2dYo+JakbWP0UBYB2xQq6atBqpMLdIlfaAzihLpRs/B8t54=`,
		`secret`},
	{`$argon2id$v=19$m=65536,t=3,p=1$AR4NAJZlEM/AM5csgc8HFQ$z9BYWGS5bTYPcNH3jqFSXJW01hRuXKbY2Exb1pqbIAI`,
		`secret`},
	{`$argon2i$v=19$m=32768,t=4,p=1$wlRFKAm8upnsVWn7ArQNQw$AeIyI0k3Nn2rCpAsNcyvGQQRSxaGvMIfylHaDLPSYck`,
		`secret`},
	{"{MD5}XUFAKrxLKna5cZ2REBfFkg==", "hello"}, // openssl md5 -binary | base64
	{"{MD5RAW}5d41402abc4b2a76b9719d911017c592", "hello"},
	{"{md5raw}5D41402ABC4B2A76B9719D911017C592", "hello"},
	{"$1$OmZMhZv7$9suXBOyWtBXo5YsbkQDXJ.", "secret"},        // userdbpw -md5
	{"{CRYPT}$1$OmZMhZv7$9suXBOyWtBXo5YsbkQDXJ.", "secret"}, // Courier's prefix
	{"{crypt}H6kMHNu/vsBNI", "secret"},                      // userdbpw
	{"{sha}5en6G6MezRroT3XKqkdPOmY/BfQ", "secret"},          // without padding
	// doveadm pw -s SCHEME
	{`{BLF-CRYPT}$2y$05$Ui1jXYCp0Lp3pYTMM0o9bu0z9aqsg75Zaqb6hzwampUbGTUdql/W2`, `pässwörd`},
	{`{SHA512-CRYPT}$6$2U1xeM6wstXue5TZ$sLeilgV5Zagon9HOOum1iKnq4Ul.P91kP5kNf7i8vd6oEa6Gvm.eOt.Yc0wknKN14HRPP` +
		`yxTynyc5dhuWKg0x.`, `pässwörd`},
	{`{SHA256-CRYPT}$5$biV3njhrExKvnL8b$VAXRx6hgVws7HMhBFv2yj.emVcB4RPXjWmcnw7VFsTD`, `pässwörd`},
	{`{md5-crypt}$1$Q0CzwqIO$D5MoBKuetAbojkksRT8DL0`, `pässwörd`},
	{`{DES-CRYPT}IyJ1hXQ3F4DrU`, `pässwörd`},
	{`{CRYPT}$2y$05$7VzqO2/siRnGkEU9V9.CHuO0hnPMQ6hccECOjPnk/vj4tlNTHV1Vq`, `pässwörd`},
	{`{ARGON2I}$argon2i$v=19$m=32768,t=4,p=1$+sAL7zvBiOwC+ZYoI4aZmw$e5y/1hc29fZ/phn0fDvN/Hf4Ly/ILqO6TxyOsGLkmaE`,
		`pässwörd`},
	{`{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$IV88o+bvGiC3lbTUGrJqNQ$IZc2fDnCHprz9LdYdnLh8dKxnUvVOOd8WDnyRSM` +
		`iP/8`, `pässwörd`},
	{`{PBKDF2}$1$CnTcOCLrlmzlRnnM$5000$cca6f1e106fb1df0103d3c3bcf0b5a7de10c2913`, `pässwörd`},
	{`{PLAIN}pässwörd`, `pässwörd`},
	{`{Clear}pässwörd`, `pässwörd`},
	{`{CLEARTEXT}{x}`, `{x}`},
	{`{PLAIN-MD5}12841e4ba5e37d2fbfc78458c6714ade`, `pässwörd`},
	{`{LDAP-MD5}EoQeS6XjfS+/x4RYxnFK3g==`, `pässwörd`},
	{`{SMD5}xAeLhqetR8vOoU5q2eAgXKv5xc0=`, `pässwörd`},
	{`{MD5}$1$oGvy3SCo$aVcE7wCfaihMmIv6oAP0X.`, `pässwörd`},
	{`{SHA1}9Rfd8dMqES/xrVXGbRsSyzjn6Pc=`, `pässwörd`},
	{`{SCRAM-SHA-1}4096,f78kT4wJ9OX8HXGedx/RAQ==,uJuZ0QM+q48A33A+/n0oD1sFgNA=,d96HUZsiDmsRS/7Tmfy8CfD5NJ8=`,
		`pässwörd`},
	{`{SCRAM-SHA-256}4096,KcyCXySG0RFnuXF5XgZoyw==,hYcuzjzEA2U2SDq674R1Y5412XZAuCEXxmJWJHzvJ7Y=,/Q7OpA7Uc3LW5` +
		`ESMcK86iN6I5TZ+NltAhn/xKeSrx4Y=`, `pässwörd`},
	{`{SSHA256.HEX}5f9d9a62880ab73a2fe6842af91716cb7f6dddaef9b3056b25d9f74d7e01d87861753bd1`, `pässwörd`},
	{`{SHA512.B64}csf+G9M7eFdGqclPm4DSWRzTjzwTyKpD91N/MqKoxfm10c7ha2nwIS4OOalNg/V7zzomuud2AHzrsB8NYxEnPg==`,
		`pässwörd`},
	{`{PLAIN.BASE64}cMOkc3N3w7ZyZA==`, `pässwörd`},
	{`{sha.hex}f517ddf1d32a112ff1ad55c66d1b12cb38e7e8f7`, `pässwörd`},
	{`{SHA}F517ddf1d32a112ff1ad55c66d1b12cb38e7e8f7`, `pässwörd`},
	{`{CRYPT.B64}JDJ5JDA1JEN5UktEU3Qwb0FVMnBpVDdZZ3NJQk9Jako4ZVpncnFqZE9aYnJlZ3F0V3FHdGlsd3I2WXo2`, `pässwörd`},
	{`{PLAIN-MD5.B64}EoQeS6XjfS+/x4RYxnFK3g==`, `pässwörd`},
	{`{SMD5.HEX}c006a2422a14be00a876d04fe4f07f5eff04b097`, `pässwörd`},
	{`{PBKDF2.HEX}243124365249462f476d2f3765754474656c6f24353030302466396530363337383237633130633739373366353` +
		`235636532303435313433353434613335316533`, `pässwörd`},
	{`$7$C6..../....SodiumChloride$KnaT/KYqe0Wkw8JJxj5dtK/JH3wZT3jEZzX4iCRKXQ0`, `secret`}, // crypt(3)
}

func TestVerify(t *testing.T) {
	refused := map[string]bool{} // by scheme and cost
	for _, v := range vectors {
		if ok, err := Verify(v.hash, v.clear); !ok || err != nil {
			t.Errorf("Verify(%q, %q) = %v, %v", v.hash, v.clear, ok, err)
		}
		if fields := strings.SplitN(v.hash, "$", 4); len(fields) > 3 {
			kind := strings.Join(fields[:3], "$")
			if refused[kind] {
				continue // the costly ones once each
			}
			refused[kind] = true
		}
		// bcrypt and DES look at the beginning only: change the first byte.
		wrong := "Y" + v.clear
		if ok, err := Verify(v.hash, wrong); ok || err != nil {
			t.Errorf("Verify(%q, %q) = %v, %v, want false", v.hash, wrong, ok, err)
		}
	}
}

func TestVerifyUnknown(t *testing.T) {
	long := "{" + strings.Repeat("A", 40) + "}secrethash"
	for hash, want := range map[string]string{
		"":                                   "unknown password scheme (empty)",
		"secrethash":                         "unknown password scheme (none)",
		"{FOO}secrethash":                    "unknown password scheme {FOO}",
		"{F\x1bO}secrethash":                 "unknown password scheme {F?O}",
		"{FOOsecrethash":                     "unknown password scheme { without }",
		"$9$secrethash":                      "unknown password scheme $9$",
		"$secrethash":                        "unknown password scheme $ without a second $",
		"{CRYPT}":                            "unknown password scheme (empty)",
		"{SHA}$1$OmZMhZv7$secrethash":        "damaged password hash of scheme {SHA}",
		"{SHA}secrethash":                    "damaged password hash of scheme {SHA}",
		"{SSHA}5en6G6MezRroT3XKqkdPOmY/BfQ=": "damaged password hash of scheme {SSHA}",
		"$1$secrethash":                      "damaged password hash of scheme $1$",
		"$1$OmZMhZv7$short":                  "damaged password hash of scheme $1$",
		"$2y$05$secrethash":                  "damaged password hash of scheme $2Y$",
		"$2y$31$CCCCCCCCCCCCCCCCCCCCC.pIKrLVkBX9/OvQMSygY1pWEVn72t6na": "damaged password hash of scheme $2Y$",
		"$6$rounds=99999999$saltstring$" +
			strings.Repeat("a", 86): "damaged password hash of scheme $6$",
		"$y$j9T$F5Jx5fExrKuPp53xLKQ..1": "damaged password hash of scheme $Y$",
		"$argon2id$v=19$m=4294967295,t=3,p=1$AR4NAJZlEM/AM5csgc8HFQ$z9BYWGS5": "damaged password hash of scheme " +
			"$ARGON2ID$",
		"$argon2id$v=19$m=64,t=0,p=1$AR4NAJZlEM/AM5csgc8HFQ$z9BYWGS5bTY": "damaged password hash of scheme " +
			"$ARGON2ID$",
		"$argon2id$v=19$m=64,t=1,p=0$AR4NAJZlEM/AM5csgc8HFQ$z9BYWGS5bTY": "damaged password hash of scheme " +
			"$ARGON2ID$",
		"{SHA.FOO}secrethash":                                     "unknown password scheme {SHA.FOO}",
		"{PLAIN.HEX}secrethash":                                   "damaged password hash of scheme {PLAIN.HEX}",
		"{PBKDF2}$1$salt$99999999$secrethash":                     "damaged password hash of scheme {PBKDF2}",
		"{PBKDF2}$2$salt$1$" + strings.Repeat("0", 40):            "damaged password hash of scheme {PBKDF2}",
		"{SCRAM-SHA-1}4096,secrethash":                            "damaged password hash of scheme {SCRAM-SHA-1}",
		"$7$Z6..../....SodiumChloride$" + strings.Repeat("a", 43): "damaged password hash of scheme $7$",
		"$7$C.........." + strings.Repeat("a", 43):                "damaged password hash of scheme $7$",
		"{DIGEST-MD5}secrethash":                                  "unknown password scheme {DIGEST-MD5}",

		long: "unknown password scheme {AAAAAAAAAAAAAAAAAAA...",
	} {
		ok, err := Verify(hash, "x")
		var unknown *UnknownSchemeError
		if ok || !errors.As(err, &unknown) || err.Error() != want {
			t.Errorf("Verify(%q) = %v, %v; want %s", hash, ok, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secrethash") {
			t.Errorf("the hash is in %v", err)
		}
	}
}

func TestHash(t *testing.T) {
	likes := []string{"{MD5}", "{MD5RAW}", "{SHA}", "{SHA256}", "{SHA512}", "{SSHA}", "{ssha256}", "{SSHA512}",
		"$1$", cheap["$2a$"], "$2b$",
		cheap["$2y$"], "$5$", "$6$", "$y$", "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$AAAAAAA", "{CRYPT}$6$",
		"H6kMHNu/vsBNI", "{crypt}$1$OmZMhZv7$x"}
	for _, like := range likes {
		hash, err := Hash(like, "n€w")
		if err != nil {
			t.Errorf("Hash(%q): %v", like, err)
			continue
		}
		if ok, err := Verify(hash, "n€w"); !ok || err != nil {
			t.Errorf("Verify(Hash(%q)) = %v, %v: %q", like, ok, err, hash)
		}
		n := min(3, len(like))
		if !isDES(like) && hash[:n] != like[:n] {
			t.Errorf("Hash(%q) has another scheme: %q", like, hash)
		}
		again, _ := Hash(like, "n€w")
		salted := !strings.HasPrefix(like, "{MD5") && !strings.HasPrefix(strings.ToUpper(like), "{SHA") &&
			!strings.HasPrefix(like, "{md5")
		if salted && again == hash {
			t.Errorf("Hash(%q) gave %q twice", like, hash)
		}
	}
	for like, want := range map[string]string{
		"$5$rounds=1500$saltstringlonger$lZbz":                                      "$5$rounds=1500$",
		"$2b$04$CCCCCCCCCCCCCCCCCCCCC.4K7":                                          "$2b$04$",
		"$y$j75$F5Jx5fExrKuPp53xLKQ..1$l5Yi":                                        "$y$j75$",
		"$argon2i$v=19$m=128,t=4,p=2$wlRFKAm8upnsVWn7ArQNQw$AeIyI0k3Nn2rCpAsNcyvGQ": "$argon2i$v=19$m=128,t=4,p=2$",
	} {
		if hash, err := Hash(like, "x"); err != nil || !strings.HasPrefix(hash, want) {
			t.Errorf("Hash(%q) = %q, %v: cost not kept", like, hash, err)
		}
	}
	if _, err := Hash("{FOO}", "x"); err == nil {
		t.Error("Hash made a hash of an unknown scheme")
	}
}

// The secrets were printed by userdbpw -hmac-md5, -hmac-sha1 and -hmac-sha256 for "secret".
var secrets = map[authlib.AuthType]string{
	authlib.AuthCRAMMD5:  "cd3ba7deaad6e5ca23448ba42e379747a9e0f7f1fbc00c8a81bbaac395731b56",
	authlib.AuthCRAMSHA1: "091e0f4c6cb5277ee2beb639a60d0831b5c8adcdaee172433df3e96ba4f00fb1b6a490c3929d2034",
	authlib.AuthCRAMSHA256: "5a84072aab37d22275b139adf7a92564c7f674be98e77d991f6f689d29e0524572804f31b0420168" +
		"04d3dea2f4e991a21b1c8906be161594b202fb74afc8ceb3",
}

func TestCRAM(t *testing.T) {
	challenge := []byte("<1896.697170952@postoffice.reston.mci.net>")
	for kind, secret := range secrets {
		if got := CRAMSecret("secret", kind); got != secret {
			t.Errorf("CRAMSecret(%s) = %s, want %s", kind, got, secret)
		}
		for _, clear := range []string{"secret", "", x80, strings.Repeat("x", MaxLength+1)} {
			m, _ := mechanismOf(kind)
			mac := hmac.New(m.new, []byte(clear))
			mac.Write(challenge)
			digest := hex.EncodeToString(mac.Sum(nil))
			for _, response := range []string{"user " + digest, "a b " + strings.ToUpper(digest)} {
				if !VerifyCRAM(clear, kind, challenge, []byte(response)) {
					t.Errorf("VerifyCRAM(%s, %q) refused the right answer", kind, clear)
				}
				if ok, err := VerifyCRAMSecret(CRAMSecret(clear, kind), kind, challenge, []byte(response)); !ok ||
					err != nil {
					t.Errorf("VerifyCRAMSecret(%s, %q) = %v, %v", kind, clear, ok, err)
				}
			}
			for _, response := range []string{"", "user", "user ", "user " + digest[2:], "user " + digest + "00",
				"user x" + digest[1:],
				"user" + digest, "user " + strings.Repeat("0", len(digest))} {
				if VerifyCRAM(clear, kind, challenge, []byte(response)) {
					t.Errorf("VerifyCRAM(%s) accepted %q", kind, response)
				}
				if ok, _ := VerifyCRAMSecret(CRAMSecret(clear, kind), kind, challenge, []byte(response)); ok {
					t.Errorf("VerifyCRAMSecret(%s) accepted %q", kind, response)
				}
			}
		}
		if _, err := VerifyCRAMSecret("00"+secret, kind, challenge, nil); err != errSecret {
			t.Errorf("a damaged secret gave %v", err)
		}
	}
	// RFC 2195 section 2.
	if !VerifyCRAM("tanstaaftanstaaf", authlib.AuthCRAMMD5, challenge,
		[]byte("tim b913a602c7eda7a495b4e6e7334d3890")) {
		t.Error("the example of RFC 2195 does not verify")
	}
	if VerifyCRAM("", authlib.AuthLogin, nil, nil) || CRAMSecret("", authlib.AuthLogin) != "" {
		t.Error("login is not CRAM")
	}
}

func FuzzVerify(f *testing.F) {
	for _, v := range vectors {
		f.Add(v.hash, v.clear)
	}
	f.Add("{CRYPT}{SHA}", "")
	f.Add("{PLAIN}x", "x")
	f.Add("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAAAAA", "x")
	f.Fuzz(func(t *testing.T, hash, clear string) {
		if strings.Contains(hash, "argon2") && len(hash) > 0 {
			// Costs within bounds may still take a minute.
			if a, ok := parseArgon(strings.TrimPrefix(hash, "{CRYPT}")); ok && (a.memory > 256 || a.time > 4) {
				return
			}
		}
		for _, slow := range []string{"rounds=", "$2a$", "$2b$", "$2y$", "$y$", "$7$", "pbkdf2", "scram"} {
			if strings.Contains(strings.ToLower(hash), slow) {
				return
			}
		}
		_, err := Verify(hash, clear)
		if err != nil && len(hash) > 24 && strings.Contains(err.Error(), hash[len(hash)-20:]) {
			t.Errorf("the hash is in the error: %v", err)
		}
		if err != nil {
			return
		}
		made, err := Hash(hash, clear)
		if err != nil {
			t.Fatalf("Verify knows the scheme, Hash does not: %v", err)
		}
		if ok, err := Verify(made, clear); !ok || err != nil {
			t.Errorf("Verify(Hash) = %v, %v", ok, err)
		}
	})
}

func FuzzCRAMSecret(f *testing.F) {
	for kind, secret := range secrets {
		f.Add(secret, string(kind), []byte("<1@x>"), []byte("u 00"))
	}
	f.Fuzz(func(t *testing.T, secret, kind string, challenge, response []byte) {
		if ok, err := VerifyCRAMSecret(secret, authlib.AuthType(kind), challenge, response); ok && err != nil {
			t.Error("right and wrong at once")
		}
		own := md5.Sum(response)
		clear := hex.EncodeToString(own[:])
		VerifyCRAM(clear, authlib.AuthType(kind), challenge, response)
	})
}
