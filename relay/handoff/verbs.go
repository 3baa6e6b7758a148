package handoff

// The verbs of a front end's messages, see Session and Client.Report.
const (
	Carry  = "CARRY"  // a session, with the descriptors of its connections; it is answered
	Report = "REPORT" // a login without a session; not answered, unless it is malformed: then with Fail
)

// The answers. All but OK may say why in REASON.
const (
	OK    = "OK"    // the session is held here now
	Limit = "LIMIT" // the session would exceed a limit of the administrator's
	Full  = "FULL"  // there is no room
	Fail  = "FAIL"  // anything else
)

// The verbs of an administrator's questions. The answer is any number of Text messages and End.
const (
	Who   = "WHO"   // the sessions, a Listed each line
	Kick  = "KICK"  // end those of WHOM, a user or an address; how many there were
	Stats = "STATS" // the metrics
	Text  = "TEXT"  // a part of the answer, in the body
)

// End is the last of several messages.
const End = "END"
