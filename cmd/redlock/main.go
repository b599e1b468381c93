package main

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/redis/go-redis/v9"
)

type commands struct {
	Demo     demoCmd     `cmd:"" help:"Show workers that share one lock while nodes fail, in a few seconds."`
	Dev      devCmd      `cmd:"" help:"Start nodes on loopback ports to try things on, until interrupted."`
	Run      runCmd      `cmd:"" help:"Run a command while holding a lock."`
	Campaign campaignCmd `cmd:"" help:"Run a command while leading an election."`
	Leader   leaderCmd   `cmd:"" help:"Show who leads an election."`
	Fence    fenceCmd    `cmd:"" help:"Check fencing tokens in a file, for shell scripts."`

	operatorCommands

	Version kong.VersionFlag `help:"Print the version and exit."`
}

// operatorCommands are the commands for operators.
type operatorCommands struct {
	Ls         lsCmd         `cmd:"" help:"List the locks that are held."`
	Inspect    inspectCmd    `cmd:"" help:"Show one lock, node by node."`
	Nodes      nodesCmd      `cmd:"" help:"Show the state of each node."`
	Doctor     doctorCmd     `cmd:"" help:"Look for what makes locks on these nodes unsafe, and say how to fix it."`
	Drill      drillCmd      `cmd:"" help:"Practise an outage: stop a minority of the nodes for a while."`
	Resize     resizeCmd     `cmd:"" help:"Add, remove or replace a node while programs use the set."`
	Once       onceCmd       `cmd:"" help:"List or forget jobs of run --once that are done."`
	Release    releaseCmd    `cmd:"" help:"Take a lock away from its holder."`
	Top        topCmd        `cmd:"" help:"Watch the nodes and the locks."`
	Web        webCmd        `cmd:"" help:"Serve pages about the nodes and the locks for a browser."`
	Bench      benchCmd      `cmd:"" help:"Measure how fast these nodes grant locks."`
	Completion completionCmd `cmd:"" help:"Print a completion script for a shell."`
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
		kong.KindMapper(reflect.String, kong.MapperFunc(verbatim)),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
	)
	ctx, err := parser.Parse(args)
	if err != nil {
		complain(fmt.Errorf("%w; see redlock %s--help", err, selected(parser, args)))
		return exitUsage
	}
	return report(ctx.Run())
}

// verbatim decodes a string unchanged. Kong itself passes it through JSON,
// which replaces bytes that are not UTF-8: two keys would become one, and the
// command of run would get other arguments.
func verbatim(ctx *kong.DecodeContext, target reflect.Value) error {
	token, err := ctx.Scan.PopValue("string")
	if err == nil {
		target.SetString(token.String())
	}
	return err
}

// selected returns the command whose help the error of a bad command line
// names.
func selected(parser *kong.Kong, args []string) string {
	if len(args) > 0 && slices.ContainsFunc(parser.Model.Children, func(n *kong.Node) bool { return n.Name == args[0] }) {
		return args[0] + " "
	}
	return ""
}

// silent drops the lines that go-redis prints by itself, because the library
// reports the important ones.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// invocation returns the words that started this program, for command lines to
// copy.
func invocation() string {
	if strings.Contains(os.Args[0], "go-build") {
		return "go run ./cmd/redlock"
	}
	return "redlock"
}
