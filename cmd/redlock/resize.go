package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
)

type resizeCmd struct {
	URL string `arg:"" optional:"" name:"URL" help:"With --replace: the URL of the node that comes in its place."`

	nodesFlag
	Add     []string      `xor:"change" sep:"none" placeholder:"URL" help:"Add this node."`
	Remove  []string      `xor:"change" sep:"none" placeholder:"NODE" help:"Remove this node, by its name in redlock nodes."`
	Replace string        `xor:"change" placeholder:"NODE" help:"Remove this node, and then add URL."`
	Cancel  bool          `xor:"change" help:"Take back a step that was proposed and does not count yet. Needs --alone."`
	Alone   bool          `help:"With --cancel: yes, no other redlock resize runs on these nodes, anywhere."`
	Gone    bool          `help:"The node that is removed never answers again: it is destroyed, or its data is."`
	Force   bool          `help:"Do not wait for programs with the old list: those that run lose their locks and lock nothing until they are restarted with the new one."`
	MaxTTL  time.Duration `name:"max-ttl" default:"60s" placeholder:"D" help:"cluster.Config.MaxTTL of the programs, if one sets it. Default ${default}."`
}

func (resizeCmd) Help() string {
	return `Changes which nodes are the set, by one node, while programs use it: there are never two holders of a key, and never less than a ` +
		`quorum. It says before each step what it waits for, and why. It can be ended at any point; called again, by anybody, it goes ` +
		`on. Without a change it goes on with what was begun.

  1. The next list is proposed to all nodes. Nothing changes for programs.
  2. Both lists count. A node that was added votes when its memory is old enough, MaxTTL and a quarter of it by default.
  3. You give all programs the new list, and restart them at their usual pace. The command shows which have the old one.
  4. The new list alone counts. Programs with the old one are refused, with an error that names both.

--nodes names the nodes before the change; while both lists count, either list will do, with a node that is removed.

  redlock resize --add redis://10.0.0.4:6379
  redlock resize --remove 10.0.0.2:6379
  redlock resize --remove 10.0.0.2:6379 --gone
  redlock resize --replace 10.0.0.2:6379 redis://10.0.0.6:6379
  redlock resize

The nodes' user needs +client|list beside the rights of locks (cluster.OperatorRights). docs/membership.md explains what is refused.

Exit codes: 0 the set is of the size asked for, 1 not: see why, 2 bad flags or nodes.`
}

// check refuses flags that do not go together.
func (r *resizeCmd) check() error {
	switch {
	case r.Quorum != 0:
		return misused("--quorum %d: leave it out, and REDLOCK_QUORUM; a set with a quorum above the majority is not resized while it is used", r.Quorum)
	case (r.Replace != "") != (r.URL != ""):
		return misused("--replace NODE URL: give both, the node to remove and the URL of the one to add")
	case len(r.Add) > 1 || len(r.Remove) > 1:
		return misused("--add, --remove: one node at a time; quorums of sizes two apart need not share a node. Add or remove the next one when this one is done")
	case r.Cancel != r.Alone:
		return misused("--cancel, --alone: give both. While another redlock resize runs, a proposal must not be taken back: it may have both lists count in the same moment")
	case r.Cancel && r.Force:
		return misused("--cancel, --force: give one of them. Taking back waits for no program")
	case r.Gone && len(r.Remove) == 0 && r.Replace == "":
		return misused("--gone: says of the node of --remove or --replace that it never answers again; give one of these")
	case r.MaxTTL < time.Second:
		return misused("--max-ttl %v: at least 1s", r.MaxTTL)
	}
	return nil
}

func (r *resizeCmd) Run() error {
	if err := r.check(); err != nil {
		return err
	}
	view, err := r.config()
	if err != nil {
		return err
	}
	cfg := nodeset.Config(view)
	cfg.MaxTTL = r.MaxTTL
	ctx, stop := untilInterrupted()
	defer stop()
	switch {
	case r.Replace != "":
		if err = r.change(ctx, cfg, "", r.Replace); err == nil {
			err = r.change(ctx, cfg, r.URL, "")
		}
	default:
		err = r.change(ctx, cfg, strings.Join(r.Add, ""), strings.Join(r.Remove, ""))
	}
	switch {
	case ctx.Err() != nil:
		return failed(exitSignal+int(syscall.SIGINT), nil)
	case errors.Is(err, nodeset.ErrConfig):
		return err
	case err != nil:
		return failed(exitFailure, err)
	}
	return nil
}

// change makes one change of one node.
func (r *resizeCmd) change(ctx context.Context, cfg nodeset.Config, add, remove string) error {
	n := newPrinter()
	say := func(format string, args ...any) {
		for line := range strings.SplitSeq(fmt.Sprintf(format, args...), "\n") {
			n.say(plain, "", "%s", shown(line))
		}
	}
	tool, err := nodeset.NewResize(cfg, add, remove, say)
	if err != nil {
		return err
	}
	defer tool.Close()
	tool.Gone, tool.Force = r.Gone && remove != "", r.Force
	if r.Cancel {
		return tool.Cancel(ctx)
	}
	return tool.Run(ctx)
}
