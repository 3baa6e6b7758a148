package frontend

import "mailproxy/internal/login"

// The names by which the dialogues know what package login has.
type (
	AuthModule  = login.AuthModule
	Credentials = login.Credentials
	DeniedError = login.DeniedError
	End         = login.End
	Outcome     = login.Outcome
)

// The ends of a session.
const (
	EndClosed   = login.EndClosed
	EndTimeout  = login.EndTimeout
	EndShutdown = login.EndShutdown
)

// What Login tells.
var (
	ErrRefused   = login.ErrRefused
	ErrTemporary = login.ErrTemporary
	ErrEnd       = login.ErrEnd
)
