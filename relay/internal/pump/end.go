package pump

// End is one connection of a session: a non-blocking stream socket.
type End struct {
	FD int
}

// Rest gives back what an idle connection does not need.
func (e *End) Rest() {}

// Bulky reports whether Rest has something to give back.
func (e *End) Bulky() bool { return false }
