#include "textflag.h"

// begin does what package entry tells and goes on to Go's own entry point, for which the kernel's stack is as it was.
TEXT ·begin(SB),NOSPLIT|NOFRAME,$0
	MOVD	$167, R8	// prctl
	MOVD	$29, R0		// PR_SET_TIMERSLACK
	MOVD	$1000000, R1	// nanoseconds
	SVC
	JMP	_rt0_arm64_linux(SB)
