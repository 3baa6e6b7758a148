#include "textflag.h"

// begin does what package entry tells and goes on to Go's own entry point, for which the kernel's stack is as it was.
TEXT ·begin(SB),NOSPLIT|NOFRAME,$0
	MOVL	$157, AX	// prctl
	MOVL	$29, DI		// PR_SET_TIMERSLACK
	MOVL	$1000000, SI	// nanoseconds
	SYSCALL
	JMP	_rt0_amd64_linux(SB)
