#include "textflag.h"

// See start.go.
TEXT start_dedupe(SB),NOSPLIT|NOFRAME,$0
	MOVL $72, AX // fcntl(0, F_GETFD)
	MOVL $0, DI
	MOVL $1, SI
	SYSCALL
	MOVQ AX, ·atStart+0(SB)
	MOVL $72, AX // fcntl(1, F_GETFD)
	MOVL $1, DI
	SYSCALL
	MOVQ AX, ·atStart+8(SB)
	MOVL $72, AX // fcntl(2, F_GETFD)
	MOVL $2, DI
	SYSCALL
	MOVQ AX, ·atStart+16(SB)
	JMP  _rt0_amd64_linux(SB)
