package pool

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestRole(t *testing.T) {
	const role Role = "DEDUPE_TEST_ROLE"
	cmd := exec.Command("program")
	role.Give(cmd, "words for it")
	if !slices.Contains(cmd.Env, "DEDUPE_TEST_ROLE=words for it") || len(cmd.Env) <= len(os.Environ()) {
		t.Errorf("the environment is %q", cmd.Env)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()

	if how, err := role.Take(null, null); how != "" || err != nil {
		t.Errorf("without the role: %q, %v", how, err)
	}
	t.Setenv(string(role), "words for it")
	if how, err := role.Take(r, w); how != "words for it" || err != nil {
		t.Errorf("%q, %v", how, err)
	}
	if how, set := os.LookupEnv(string(role)); set {
		t.Errorf("a child would inherit the role: %q", how)
	}
	for _, streams := range [][2]*os.File{{null, w}, {r, null}} {
		t.Setenv(string(role), "words for it")
		if how, err := role.Take(streams[0], streams[1]); how == "" || err == nil || !strings.Contains(err.Error(), "unset it") {
			t.Errorf("not over pipes: %q, %v", how, err)
		}
	}
	t.Setenv(string(role), "words for it")
	if how, err := role.Take(new(bytes.Buffer), new(bytes.Buffer)); how == "" || err != nil {
		t.Errorf("in the same process: %q, %v", how, err)
	}
}
