// Command gate runs the stages of `make test`, `make gate` and `make gate-full` and
// reports their results: a line for each stage, failures with the violation first, what
// was left out and why, tests that a slow machine kept from being judged, and
// the slowest tests.
//
//	go run ./internal/test/gate [-only regexp] [-list] test|gate|full
//
// It needs only the standard library, so that its first line appears before
// anything else is compiled. The whole output of every stage is kept in
// bin/logs.
//
// A test that is skipped because the machine was too slow to judge it (see
// package machine) is repeated once, by itself. If that changes nothing it is
// listed and the gate stays green: a slow machine is not a violation.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"github.com/venta-hq/redlock/internal/test/machine"
)

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) (code int) {
	flags := flag.NewFlagSet("gate", flag.ContinueOnError)
	only := flags.String("only", "", "run only the stages whose names match this `regexp`")
	list := flags.Bool("list", false, "print the names of the stages and end")
	if flags.Parse(args) != nil {
		return 2
	}
	pattern, err := regexp.Compile(*only)
	if err != nil {
		fmt.Fprintf(os.Stderr, "gate: -only: %v\n", err)
		return 2
	}
	all, ok := tiers[flags.Arg(0)]
	if !ok || flags.NArg() != 1 {
		fmt.Fprintf(os.Stderr, "gate: name the tier, test, gate or full, not %q\n", flags.Args())
		return 2
	}
	chosen := matching(all, pattern)
	if len(chosen) == 0 {
		fmt.Fprintf(os.Stderr, "gate: -only %q matches no stage; -list prints their names\n", *only)
		return 2
	}
	if *list {
		for _, s := range chosen {
			fmt.Println(s.name)
		}
		return 0
	}
	// Without SIGHUP, so that nohup keeps its meaning.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root, err := moduleRoot(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "gate:", err)
		return 2
	}
	meter := machine.Start()
	defer meter.Stop()
	g := &gate{root: root, logs: filepath.Join(root, "bin", "logs"), out: os.Stdout, began: time.Now(), meter: meter}
	return g.run(ctx, chosen)
}

func matching(all []stage, pattern *regexp.Regexp) (chosen []stage) {
	for _, s := range all {
		if pattern.MatchString(s.name) {
			chosen = append(chosen, s)
		}
	}
	return chosen
}

// moduleRoot returns the folder of the module that this program was started in.
func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil || len(out) < 2 {
		return "", errors.New("start it inside the module")
	}
	return string(out[:len(out)-1]), nil
}
