package service

import (
	"context"
	"net/http"
	"os"
	"strings"
	"unicode/utf8"

	"efsdedupe/dedupe"
)

// Caller is what the gateway in front says of a request.
type Caller struct {
	RequestID string
	Claims    map[string]string // of the JWT, or of the IAM principal; nil if nobody was authenticated
}

type callerKey struct{}

// WithCaller returns a context for a request of this caller.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

func callerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// maxFolder is how long a file name may be.
const maxFolder = 255

// within opens the directory that a caller is confined to, and returns the
// tenant's name, which is empty where all callers share the root.
func (s *service) within(ctx context.Context) (dir *os.File, tenant string, err error) {
	if s.TenantClaim == "" {
		dir, err = dedupe.OpenWithin(s.root, ".")
		return dir, "", err
	}
	tenant, ok := callerOf(ctx).Claims[s.TenantClaim]
	if !ok || !isFolder(tenant) {
		return nil, "", refuse(http.StatusForbidden, "who you are does not name a folder: the claim %q is missing or odd", s.TenantClaim)
	}
	dir, err = dedupe.OpenWithin(s.root, tenant)
	if err != nil {
		return nil, tenant, refuse(http.StatusForbidden, "there is no folder for you")
	}
	return dir, tenant, nil
}

// isFolder reports whether a claim can name one folder of the root and nothing
// else, on any file system and in any log.
func isFolder(name string) bool {
	odd := func(r rune) bool {
		return r == '/' || r == '\\' || r < ' ' || r == 0x7f || r == utf8.RuneError
	}
	return name != "" && len(name) <= maxFolder && !strings.HasPrefix(name, ".") && !strings.ContainsFunc(name, odd)
}
