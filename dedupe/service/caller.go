package service

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"unicode/utf8"

	"efsdedupe/dedupe"
)

// Caller is what the gateway knows about the sender of a request.
type Caller struct {
	RequestID string            // the gateway's ID for the request
	Claims    map[string]string // from the JWT or the IAM principal; nil if not authenticated
}

type callerKey struct{}

// WithCaller returns a context for a request by this caller.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

func callerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// maxFolder limits a folder name, in bytes, like NAME_MAX.
const maxFolder = 255

// within opens the directory that confines the caller. It also returns the tenant,
// which is empty if all callers share the root.
func (s *service) within(ctx context.Context) (dir *os.File, tenant string, err error) {
	inRoot := dedupe.Engine{Within: s.root, Abandoned: &s.abandoned}
	if tenant, err = s.tenant(ctx); err != nil {
		return nil, "", err
	}
	if tenant == "" {
		dir, err = inRoot.OpenWithin(ctx, ".")
		return dir, "", refusal(err)
	}
	dir, err = inRoot.OpenWithin(ctx, tenant)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), ctx.Err() != nil:
		return nil, tenant, refusal(err)
	case err != nil:
		return nil, tenant, refuse(http.StatusForbidden, "you have no folder here: ask the operator to create it")
	}
	return dir, tenant, nil
}

// tenant returns the folder of the caller, which is empty if all callers share the root.
func (s *service) tenant(ctx context.Context) (string, error) {
	if s.TenantClaim == "" {
		return "", nil
	}
	tenant, ok := callerOf(ctx).Claims[s.TenantClaim]
	if !ok || !isFolder(tenant) {
		return "", refuse(http.StatusForbidden, "your credentials name no folder: the claim %q is missing or not a plain folder name", s.TenantClaim)
	}
	return tenant, nil
}

// isFolder reports whether a claim is safe as the name of a folder directly below the
// root, on any file system and in any log.
func isFolder(name string) bool {
	unsafe := func(r rune) bool {
		return r == '/' || r == '\\' || r < ' ' || r == 0x7f || r == utf8.RuneError
	}
	return name != "" && len(name) <= maxFolder && !strings.HasPrefix(name, ".") && !strings.ContainsFunc(name, unsafe)
}
