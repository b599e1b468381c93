package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strconv"
	"strings"

	"github.com/venta-hq/redlock/embedded"
)

type devCmd struct {
	Count int `short:"n" name:"count" default:"5" placeholder:"N" help:"How many nodes. Default ${default}."`
	Port  int `default:"7101" placeholder:"PORT" help:"The first node's port; the others follow. Default ${default}."`
}

func (devCmd) Help() string {
	return `The nodes run in this process, on 127.0.0.1, and keep everything in memory: their data is lost when it ends. ` +
		`They are for trying things out, not for load. The command prints the line that makes other shells use them.` + `

Exit codes: 0 ended by a signal, 1 a port is taken, 2 bad flags.`
}

func (d *devCmd) Run() error {
	if d.Count < 1 || d.Count > 101 {
		return misused("-n %d: from 1 to 101 nodes; 3 or 5 survive the loss of 1 or 2", d.Count)
	}
	if d.Port < 1 || d.Port+d.Count-1 > 65535 {
		return misused("--port %d: %d ports from there on must lie between 1 and 65535", d.Port, d.Count)
	}
	ctx, stop := untilInterrupted()
	defer stop()
	addrs := make([]string, d.Count)
	for i := range addrs {
		addrs[i] = net.JoinHostPort("127.0.0.1", strconv.Itoa(d.Port+i))
	}
	nodes, err := embedded.StartAt(addrs...)
	if err != nil {
		return d.explain(err)
	}
	defer nodes.Close()
	d.announce(stdout, nodes.URLs())
	<-ctx.Done()
	return nil
}

// explain returns an error that names the port that is in use, and the flag
// that selects others.
func (d *devCmd) explain(err error) error {
	var op *net.OpError
	if !errors.As(err, &op) || op.Addr == nil {
		return err
	}
	_, port, _ := net.SplitHostPort(op.Addr.String())
	return failed(exitFailure, fmt.Errorf(
		"port %s cannot be used: %w; stop what listens there, or choose other ports with --port, as in: %s dev --port %d",
		port, op.Err, invocation(), d.other()))
}

// other returns a first port whose range does not overlap the one in use.
func (d *devCmd) other() int {
	if next := d.Port + 100*((d.Count+99)/100); next+d.Count <= 65536 {
		return next
	}
	return 7101
}

func (d *devCmd) announce(w io.Writer, urls []string) {
	last := d.Port + d.Count - 1
	fmt.Fprintf(w, "%d nodes on 127.0.0.1, ports %d to %d, in memory; Ctrl-C ends them.\n", d.Count, d.Port, last)
	fmt.Fprintf(w, "In another shell:\n\n")
	fmt.Fprintf(w, "%s\n", exportLine(urls))
	fmt.Fprintf(w, "%s run order:42 -- %s\n\n", invocation(), exampleCommand())
}

func exportLine(urls []string) string {
	all := strings.Join(urls, ",")
	if runtime.GOOS == "windows" {
		return `$env:REDLOCK_NODES = "` + all + `"`
	}
	return "export REDLOCK_NODES=" + all
}

func exampleCommand() string {
	if runtime.GOOS == "windows" {
		return `cmd /c "echo token %REDLOCK_TOKEN% & timeout 10"`
	}
	return `sh -c 'echo "$REDLOCK_KEY is mine, token $REDLOCK_TOKEN"; sleep 10'`
}
