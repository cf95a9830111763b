package main

import (
	"cmp"
	"fmt"
	"strconv"

	"efsdedupe/dedupe/service"
)

// configFrom reads the configuration, all of it, from environment variables:
//
//	DEDUPE_ROOT          the directory that is served, /mnt/efs
//	DEDUPE_TENANT_CLAIM  the claim that names a caller's folder in it; none
//	DEDUPE_MAX_WORKERS   of one scan; the service's default
//	DEDUPE_MAX_FILES     of one scan; the service's default
//	DEDUPE_LOG_PATHS     whether paths are logged; false
//
// and from AWS_LAMBDA_FUNCTION_MEMORY_SIZE what a call costs.
func configFrom(getenv func(string) string) (service.Config, error) {
	v := variables{getenv: getenv}
	c := service.Config{
		Root:        cmp.Or(getenv("DEDUPE_ROOT"), "/mnt/efs"),
		TenantClaim: getenv("DEDUPE_TENANT_CLAIM"),
		MaxWorkers:  int(v.count("DEDUPE_MAX_WORKERS")),
		MaxFiles:    v.count("DEDUPE_MAX_FILES"),
		MemoryMB:    v.count("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"),
		MaxDuration: functionTime,
		LogPaths:    v.flag("DEDUPE_LOG_PATHS"),
	}
	return c, v.err
}

// variables reads numbers and flags, and remembers the first that is none.
type variables struct {
	getenv func(string) string
	err    error
}

func (v *variables) count(name string) int64 {
	value := v.getenv(name)
	if value == "" {
		return 0
	}
	n, err := strconv.ParseInt(value, 10, 32)
	if err != nil || n < 1 {
		v.fail(name, value, "a number from 1")
	}
	return n
}

func (v *variables) flag(name string) bool {
	value := v.getenv(name)
	if value == "" {
		return false
	}
	b, err := strconv.ParseBool(value)
	if err != nil {
		v.fail(name, value, "true or false")
	}
	return b
}

func (v *variables) fail(name, value, want string) {
	if v.err == nil {
		v.err = fmt.Errorf("%s is %q: it must be %s", name, value, want)
	}
}
