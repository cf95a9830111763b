package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"efsdedupe/cmd/internal/cli"
	"efsdedupe/dedupe/report"
	"efsdedupe/fixtures/lambda/runtimeapi"
)

// exitFunctionError is the exit code of a call that Lambda would report as an error.
const exitFunctionError cli.ExitCode = 1

// invocation is the flags of experiment invoke.
type invocation struct {
	cli.Std
	bootstrap string
	root      string
	timeout   time.Duration
	warm      int
	raw       bool
	quiet     bool
}

func invokeCommand(s cli.Std) *cobra.Command {
	c := invocation{Std: s}
	cmd := &cobra.Command{
		Use:   "invoke [flags] EVENT.json",
		Short: "Call the Lambda function with an event, on this machine",
		Long: `Call the Lambda function with an event from a file, or - for standard input, as
Lambda does: start its bootstrap as a process, with this environment and the
variables that Lambda sets, and send it the event over the Runtime API.

Standard output gets the body of the answer. Standard error gets what the
function logs, the HTTP status, and how long INIT and the call took. Nothing
limits memory and CPU here, so INIT and duration are those of this machine.

Exit codes: 0 there is an answer, whatever its HTTP status; 1 Lambda would
report an error: the function answered with one, exited, or took too long; 2 no
call: the event cannot be read, or the bootstrap does not start.`,
		Example: `  experiment invoke --root build/efs deploy/events/http-api-scan.json
  experiment invoke --root build/efs --warm 10 deploy/events/direct-scan.json
  echo '{"path": "."}' | experiment invoke --root build/efs -`,
		Args: cli.Args("EVENT.json"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args[0]) },
	}
	f := cmd.Flags()
	f.StringVar(&c.bootstrap, "bootstrap", "build/bootstrap", "the `program` of the function, as in the zip")
	f.StringVar(&c.root, "root", "", "the `directory` to serve; sets DEDUPE_ROOT")
	f.DurationVar(&c.timeout, "timeout", 30*time.Second, "the timeout of the function")
	f.IntVar(&c.warm, "warm", 0, "repeat the call `n` times in the same process, and print the last answer")
	f.BoolVar(&c.raw, "raw", false, "print the whole answer that Lambda gets, not only its body")
	f.BoolVarP(&c.quiet, "quiet", "q", false, "hide what the function logs")
	return cmd
}

func (c *invocation) run(ctx context.Context, path string) error {
	if c.timeout <= 0 || c.timeout > 15*time.Minute || c.warm < 0 {
		return errors.New("--timeout must be above 0 and at most Lambda's 15m, and --warm at least 0")
	}
	event, err := c.readEvent(path)
	if err != nil {
		return fmt.Errorf("can't read the event: %w", err)
	}
	command, err := c.command()
	if err != nil {
		return err
	}
	f, err := runtimeapi.Start(ctx, command)
	if err != nil {
		return c.interrupted(ctx, err)
	}
	defer f.Close()
	var result runtimeapi.Result
	for range 1 + c.warm {
		if result, err = f.Invoke(ctx, event, c.timeout); err != nil {
			break
		}
		c.tellTimes(result)
	}
	switch {
	case ctx.Err() != nil:
		return c.interrupted(ctx, err)
	case err != nil:
		fmt.Fprintf(c.Err, "experiment: %v\n", err)
		return exitFunctionError
	case result.ErrorType != "":
		fmt.Fprintf(c.Err, "experiment: the function answered with the error %s: %s\n", result.ErrorType, cli.OneLine(result.ErrorMessage))
		return exitFunctionError
	}
	return c.print(result.Body)
}

// interrupted returns the exit code of an interruption if there was one, else err.
func (c *invocation) interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return cli.ExitInterrupted
	}
	return err
}

func (c *invocation) readEvent(path string) ([]byte, error) {
	in := c.In
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		in = file
	}
	event, err := io.ReadAll(io.LimitReader(in, runtimeapi.MaxPayload+1))
	if err == nil && len(event) > runtimeapi.MaxPayload {
		err = fmt.Errorf("it exceeds Lambda's limit of %d bytes", runtimeapi.MaxPayload)
	}
	return event, err
}

// command returns a function that makes the command to start the bootstrap with.
func (c *invocation) command() (func() *exec.Cmd, error) {
	path, err := filepath.Abs(c.bootstrap)
	if err != nil {
		return nil, err
	}
	env := os.Environ()
	if c.root != "" {
		root, err := filepath.Abs(c.root)
		if err != nil {
			return nil, err
		}
		env = append(env, "DEDUPE_ROOT="+root)
	}
	return func() *exec.Cmd {
		cmd := exec.Command(path)
		cmd.Env = env
		if !c.quiet {
			cmd.Stdout, cmd.Stderr = c.Err, c.Err
		}
		return cmd
	}, nil
}

// tellTimes prints how long a call took, as Lambda's own log does.
func (c *invocation) tellTimes(r runtimeapi.Result) {
	fmt.Fprintf(c.Err, "REPORT RequestId: %s Duration: %.2f ms", r.RequestID, report.Milliseconds(r.Duration))
	if r.Init > 0 {
		fmt.Fprintf(c.Err, " Init Duration: %.2f ms", report.Milliseconds(r.Init))
	}
	fmt.Fprintln(c.Err)
}

// print writes the body of an answer for API Gateway, or the whole of any other.
func (c *invocation) print(answer []byte) error {
	var gateway struct {
		StatusCode int     `json:"statusCode"`
		Body       *string `json:"body"`
		IsBase64   bool    `json:"isBase64Encoded"`
	}
	if err := json.Unmarshal(answer, &gateway); !c.raw && err == nil && gateway.Body != nil && gateway.StatusCode > 0 {
		fmt.Fprintf(c.Err, "HTTP %d\n", gateway.StatusCode)
		answer = []byte(*gateway.Body)
		if gateway.IsBase64 {
			if answer, err = base64.StdEncoding.DecodeString(*gateway.Body); err != nil {
				return fmt.Errorf("the answer's body is not base64, which it says it is: %w", err)
			}
			_, err = c.Out.Write(answer)
			return err
		}
	}
	_, err := fmt.Fprintln(c.Out, strings.TrimSuffix(string(answer), "\n"))
	return err
}
