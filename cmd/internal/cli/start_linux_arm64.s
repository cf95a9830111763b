#include "textflag.h"

// See start.go.
TEXT start_dedupe(SB),NOSPLIT|NOFRAME,$0
	MOVD $25, R8 // fcntl(0, F_GETFD)
	MOVD $0, R0
	MOVD $1, R1
	SVC
	MOVD R0, ·atStart+0(SB)
	MOVD $1, R0 // fcntl(1, F_GETFD)
	SVC
	MOVD R0, ·atStart+8(SB)
	MOVD $2, R0 // fcntl(2, F_GETFD)
	SVC
	MOVD R0, ·atStart+16(SB)
	B    _rt0_arm64_linux(SB)
