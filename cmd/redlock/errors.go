package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/venta-hq/redlock/cluster"
)

// The exit codes. runCmd.Help also describes those of the command that run
// runs.
const (
	exitFailure  = 1
	exitUsage    = 2  // flags, nodes or credentials that cannot be used
	exitNobody   = 3  // of leader, inspect and release: no leader, no holder of the key
	exitNoQuorum = 69 // EX_UNAVAILABLE: too few nodes answered
	exitConflict = 75 // EX_TEMPFAIL: the key was not acquired
	exitLost     = 76 // the lock was lost while the command ran
	exitStale    = 77 // EX_NOPERM: a newer fencing token was checked before, or a reader's that is as new
	exitNoExec   = 126
	exitNotFound = 127
	exitSignal   = 128 // plus the signal's number
)

// exit is an error with its exit code. A nil err means that nothing is printed.
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

// complain prints an error. It indents further lines, so that a line from
// elsewhere in the text is not mistaken for a line of redlock. Errors of the
// library already begin with the program's name.
func complain(err error) {
	var text []string
	for line := range strings.Lines(withFlagNames(err.Error())) {
		text = append(text, strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "redlock: "))
	}
	fmt.Fprintln(stderr, "redlock: "+strings.Join(text, "\n  "))
}

var urlField = regexp.MustCompile(`Config\.URLs\[(\d+)\]`)

// flagNames replaces the names of fields in errors of the library by the flags
// that set them.
var flagNames = strings.NewReplacer(
	"redlock: bad configuration: key: ", "KEY: ",
	"redlock: bad configuration: by: ", "--as: ",
	"redlock: bad configuration: ", "",
	"the rights that cluster.Rights lists", "the rights of a user for locks (ACL SETUSER), which docs/deploy.md lists",
	"Config.URLs", "--nodes",
	"Config.Prefix", "--prefix",
	"Config.Owner", "--owner",
	"Config.TTL", "--ttl",
	"Config.DoneTTL", "--done-ttl",
	"Config.Every", "--every",
	"File.Timeout", "--wait",
	"; see Config.MaxQueued", "",
	"the Cluster's MaxTTL", "the longest TTL",
)

// withFlagNames returns the text of an error of the library with the names of
// flags in place of fields.
func withFlagNames(text string) string {
	text = urlField.ReplaceAllStringFunc(text, func(field string) string {
		i, _ := strconv.Atoi(urlField.FindStringSubmatch(field)[1])
		return "--nodes, URL " + strconv.Itoa(i+1)
	})
	return flagNames.Replace(text)
}

// untilInterrupted returns a context that ends at a SIGINT or SIGTERM.
func untilInterrupted() (ctx context.Context, stop func()) {
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
}

// signalNumber returns the number that shells add to 128 for an exit code.
func signalNumber(sig os.Signal) int {
	if s, ok := sig.(syscall.Signal); ok {
		return int(s)
	}
	return 0
}
