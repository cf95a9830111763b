package main

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"efsdedupe/dedupe/index"
	"efsdedupe/dedupe/index/dynamodb"
	"efsdedupe/dedupe/service"
)

// configFrom reads the configuration, all of it, from environment variables:
//
//	DEDUPE_ROOT          the directory that is served, /mnt/efs
//	DEDUPE_TENANT_CLAIM  the claim that names a caller's folder in it; none
//	DEDUPE_MAX_WORKERS   of one scan; the service's default
//	DEDUPE_MAX_FILES     of one scan; the service's default
//	DEDUPE_LOG_PATHS     whether paths are logged; false
//	DEDUPE_INDEX         the index of digests, dynamodb://TABLE or a file, such as one in /tmp; none
//	DEDUPE_INDEX_ID      the identity of the file system in it, such as fs-0123abcd; what its mount says
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
		Index:       v.index("DEDUPE_INDEX", "DEDUPE_INDEX_ID"),
	}
	return c, v.err
}

// variables reads values, and remembers the first that is wrong.
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

// index opens an index, or makes it. It does not find out whether a table can be
// reached: the scans do.
func (v *variables) index(name, id string) *index.Index {
	value, fileSystem := v.getenv(name), v.getenv(id)
	if strings.ContainsFunc(fileSystem, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }) {
		v.fail(id, fileSystem, "the identity of a file system, such as fs-0123abcd")
	}
	if value == "" || v.err != nil {
		return nil
	}
	store, err := dynamodb.OpenNamed(value)
	if err != nil {
		v.err = fmt.Errorf("%s: %w", name, err)
		return nil
	}
	x := index.New(store)
	x.FileSystem = fileSystem
	return x
}

func (v *variables) fail(name, value, want string) {
	if v.err == nil {
		v.err = fmt.Errorf("%s is %q: it must be %s", name, value, want)
	}
}
