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
	URL string `arg:"" optional:"" name:"URL" help:"With --replace: the URL of the new node."`

	nodesFlag
	Add     []string      `xor:"change" sep:"none" placeholder:"URL" help:"Add this node."`
	Remove  []string      `xor:"change" sep:"none" placeholder:"NODE" help:"Remove this node, by its name in redlock nodes."`
	Replace string        `xor:"change" placeholder:"NODE" help:"Remove this node, and then add URL."`
	Cancel  bool          `xor:"change" help:"Take back a step that was proposed and is not in effect yet. Needs --alone."`
	Alone   bool          `help:"With --cancel: confirm that no other redlock resize runs on these nodes, on any machine."`
	Gone    bool          `help:"The removed node will never answer again: it, or its data, is destroyed."`
	Force   bool          `help:"Do not wait for programs with the old list: those that run lose their locks and lock nothing until they are restarted with the new one."`
	MaxTTL  time.Duration `name:"max-ttl" default:"60s" placeholder:"D" help:"cluster.Config.MaxTTL of the programs, if one sets it. Default ${default}."`
	Records time.Duration `default:"336h" placeholder:"D" help:"The longest time that programs keep records: checkpoints, results of jobs that run once, sessions. A removal that could lose records waits until this long after the previous change; with 0s it does not wait. Default ${default}, the longest of the programs' defaults."`
}

func (resizeCmd) Help() string {
	return `Adds or removes one node while programs use the set. A key never has two holders, and a quorum stays available. ` +
		`Before each step the command says what it waits for, and why. It can be interrupted at any point; run again, by anyone, it ` +
		`continues. Without a change it continues the one that was begun.

  1. The next list is proposed to all nodes. Nothing changes for programs.
  2. Both lists are in effect. A node that was added votes after a quarantine, 76 s by default.
  3. You give all programs the new list, and restart them at their usual pace. The command shows which still use the old one.
  4. Only the new list is in effect. Programs with the old one are refused, with an error that names both.

No record is copied: checkpoints, results of jobs that run once, sessions. A removal soon after another one, or of the node that was alone in the set, waits until they have expired (--records).

--nodes lists the nodes before the change. While both lists are in effect, either list can be given, with the removed node.

  redlock resize --add redis://10.0.0.4:6379
  redlock resize --remove 10.0.0.2:6379
  redlock resize --remove 10.0.0.2:6379 --gone
  redlock resize --replace 10.0.0.2:6379 redis://10.0.0.6:6379
  redlock resize

The nodes' user needs +client|list in addition to the rights of locks (cluster.OperatorRights). docs/membership.md explains what is refused.

Exit codes: 0 the set has the size asked for, 1 it does not, 2 bad flags or nodes.`
}

// check refuses flags that cannot be combined.
func (r *resizeCmd) check() error {
	switch {
	case r.Quorum != nil:
		return misused("--quorum %d: leave it out, and REDLOCK_QUORUM; a set with a quorum above the majority is not resized while it is used", *r.Quorum)
	case (r.Replace != "") != (r.URL != ""):
		return misused("--replace NODE URL: give both, the node to remove and the URL of the one to add")
	case len(r.Add) > 1 || len(r.Remove) > 1:
		return misused("--add, --remove: change one node at a time, because quorums of sizes that differ by two need not share a node")
	case r.Cancel != r.Alone:
		return misused("--cancel, --alone: give both. A proposal must not be taken back while another redlock resize runs, which may put both lists into effect at that moment")
	case r.Cancel && r.Force:
		return misused("--cancel, --force: give one of them; --cancel waits for no program")
	case r.Gone && len(r.Remove) == 0 && r.Replace == "":
		return misused("--gone: needs --remove or --replace")
	case r.MaxTTL < time.Second:
		return misused("--max-ttl %v: must be at least 1s", r.MaxTTL)
	case r.Records < 0:
		return misused("--records %v: must be at least 0s, which does not wait for records", r.Records)
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

// change adds or removes one node.
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
	tool.Gone, tool.Force, tool.Records = r.Gone && remove != "", r.Force, r.Records
	if r.Cancel {
		return tool.Cancel(ctx)
	}
	return tool.Run(ctx)
}
