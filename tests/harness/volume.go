package harness

// Volume is how much data, or how many sessions, a test takes: little in "make test", and what the test is
// for in "make soak", which runs the tests that are named TestVolume.
func Volume(short, full int64) int64 {
	if soak {
		return full
	}
	return short
}
