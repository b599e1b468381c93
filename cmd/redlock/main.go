package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/cluster"
)

// The exit codes. Those of run that the command itself makes are in runCmd.Help.
const (
	exitFailure  = 1
	exitUsage    = 2  // flags, nodes or credentials that can not be used
	exitNobody   = 3  // of leader, inspect and release: nobody leads, nobody has the key
	exitNoQuorum = 69 // EX_UNAVAILABLE: too few nodes answered
	exitConflict = 75 // EX_TEMPFAIL: the key was not given
	exitLost     = 76 // the lock was lost while the command ran
	exitStale    = 77 // EX_NOPERM: a newer fencing token was checked before
	exitNoExec   = 126
	exitNotFound = 127
	exitSignal   = 128 // plus the signal's number
)

type commands struct {
	Demo     demoCmd     `cmd:"" help:"Show workers that share one lock while nodes fail, in a few seconds."`
	Dev      devCmd      `cmd:"" help:"Start nodes on loopback ports to try things on, until interrupted."`
	Run      runCmd      `cmd:"" help:"Run a command while holding a lock."`
	Campaign campaignCmd `cmd:"" help:"Run a command while leading an election."`
	Leader   leaderCmd   `cmd:"" help:"Say who leads an election."`
	Fence    fenceCmd    `cmd:"" help:"Check fencing tokens in a file, for shell scripts."`

	operateCommands

	Version kong.VersionFlag `help:"Print the version and exit."`
}

func main() { os.Exit(execute(os.Args[1:])) }

// execute runs one command line and returns the exit code.
func execute(args []string) int {
	redis.SetLogger(silent{})
	var cmds commands
	parser := kong.Must(&cmds,
		kong.Name("redlock"),
		kong.Description("Locks with fencing tokens on independent Redis nodes."),
		kong.Vars{"version": "redlock " + version()},
		kong.Writers(stdout, stderr),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
	)
	ctx, err := parser.Parse(args)
	if err != nil {
		complain(fmt.Errorf("%w; see redlock %s--help", err, selected(parser, args)))
		return exitUsage
	}
	return report(ctx.Run())
}

// selected is the command whose help a bad command line should be pointed to.
func selected(parser *kong.Kong, args []string) string {
	if len(args) > 0 && slices.ContainsFunc(parser.Model.Children, func(n *kong.Node) bool { return n.Name == args[0] }) {
		return args[0] + " "
	}
	return ""
}

// exit is an error that knows its exit code. Without an err there is nothing more to say.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

func failed(code int, err error) error { return &exit{code, err} }

func misused(format string, args ...any) error { return &exit{exitUsage, fmt.Errorf(format, args...)} }

// report prints err and returns its exit code.
func report(err error) int {
	var e *exit
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		if e.err != nil {
			complain(e.err)
		}
		return e.code
	}
	complain(err)
	switch {
	case errors.Is(err, cluster.ErrConfig):
		return exitUsage
	case errors.Is(err, cluster.ErrNoQuorum):
		return exitNoQuorum
	}
	return exitFailure
}

// complain prints an error. Its further lines, if it has some, are indented: a line that others wrote into it is not taken for
// one of ours. The library's errors begin with the program's name already.
func complain(err error) {
	var text []string
	for line := range strings.Lines(flagged(err.Error())) {
		text = append(text, strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "redlock: "))
	}
	fmt.Fprintln(stderr, "redlock: "+strings.Join(text, "\n  "))
}

// silent drops the lines that go-redis prints by itself: what a person must know of them the library says too.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// version is the module's version, or the commit it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(unknown)"
	}
	return info.Main.Version + ", " + info.GoVersion
}
