# Reads what go test -v printed. Prints what failed and what failed tests logged, or else
# each reason to skip a test.

function forget() {
	n = 0
	test = ""
	split("", owner)
	split("", line)
	split("", running)
	split("", failed)
	split("", why)
}

BEGIN { forget() }

/^=== / { test = $3; if ($2 == "RUN") running[test]; next }
/^# / { test = "" } # what follows is from the compiler
/^ *--- (PASS|FAIL|SKIP): / {
	delete running[$3]
	test = $3
	if ($2 == "FAIL:") failed[test]
	if ($2 == "SKIP:") { skipped[why[test]]++; example[why[test]] = test }
}
# testscript.go logs a script after its reason to skip.
/^ *[a-z0-9_]+\.go:[0-9]+: / && !/^ *testscript\.go:/ { reason = $0; sub(/^ *[^ ]+ /, "", reason); why[test] = reason }
/^(ok  |\?   )/ { forget(); next }
/^FAIL\t/ {
	failures++
	# A test that was running when the program ended did not pass, either.
	for (i = 0; i < n; i++)
		if (owner[i] == "" || owner[i] in failed || owner[i] in running) print line[i]
	print
	forget()
	next
}
{ owner[n] = test; line[n++] = $0 }

END {
	if (failures) exit
	for (reason in skipped)
		printf "  %s: %s%s\n", reason, example[reason], (skipped[reason] > 1 ? " and " skipped[reason] - 1 " more" : "")
}
