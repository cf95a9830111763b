package main

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"efsdedupe/dedupe/index"
	"efsdedupe/dedupe/index/dynamodb"
	"efsdedupe/dedupe/job"
	"efsdedupe/dedupe/service"
)

// configFrom reads the configuration from environment variables:
//
//	DEDUPE_ROOT          directory to serve; default /mnt/efs
//	DEDUPE_TENANT_CLAIM  claim that names the caller's folder in it; default none
//	DEDUPE_MAX_WORKERS   workers per scan; default 200
//	DEDUPE_MAX_FILES     files per scan; default a million
//	DEDUPE_MAX_MIB       MiB that a scan may read; default any number
//	DEDUPE_STACK         dimension of the metrics; default none
//	DEDUPE_LOG_PATHS     whether to log paths; default false
//	DEDUPE_INDEX         index of digests: dynamodb://TABLE or a file, for example in /tmp; default none
//	DEDUPE_INDEX_ID      identity of the file system in the index, such as fs-0123abcd; default from the mount
//
// With DEDUPE_JOBS, such as s3://BUCKET, the function does steps of jobs in that bucket, or
// serves their API: see jobsConfigFrom.
//
// AWS_LAMBDA_FUNCTION_MEMORY_SIZE sets the memory for the bill, and limits that of a scan.
func configFrom(getenv func(string) string) (service.Config, error) {
	v := variables{getenv: getenv}
	c := service.Config{
		Root:        cmp.Or(getenv("DEDUPE_ROOT"), "/mnt/efs"),
		TenantClaim: getenv("DEDUPE_TENANT_CLAIM"),
		MaxWorkers:  int(v.count("DEDUPE_MAX_WORKERS")),
		MaxFiles:    v.count("DEDUPE_MAX_FILES"),
		MaxBytes:    v.count("DEDUPE_MAX_MIB") << 20,
		Stack:       getenv("DEDUPE_STACK"),
		MemoryMB:    v.count("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"),
		MaxDuration: functionTime,
		LogPaths:    v.flag("DEDUPE_LOG_PATHS"),
		Index:       v.index("DEDUPE_INDEX", "DEDUPE_INDEX_ID"),
	}
	return c, v.err
}

// variables reads values and keeps the first error.
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
		v.fail(name, value, "a whole number from 1 to 2147483647")
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

// index opens or creates an index. It does not connect to a table: scans do.
func (v *variables) index(name, id string) *index.Index {
	value, fileSystem := v.getenv(name), v.getenv(id)
	if strings.ContainsFunc(fileSystem, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }) {
		v.fail(id, fileSystem, "the identity of a file system, such as fs-0123abcd")
	}
	if value == "" || v.err != nil {
		return nil
	}
	x, err := openIndex(job.Index{Name: value, FileSystem: fileSystem})
	if err != nil {
		v.err = fmt.Errorf("%s: %w", name, err)
	}
	return x
}

func openIndex(of job.Index) (*index.Index, error) {
	store, err := dynamodb.OpenNamed(of.Name)
	if err != nil {
		return nil, err
	}
	x := index.New(store)
	x.FileSystem = of.FileSystem
	return x, nil
}

func (v *variables) fail(name, value, want string) {
	if v.err == nil {
		v.err = fmt.Errorf("%s is %q: it must be %s", name, value, want)
	}
}
