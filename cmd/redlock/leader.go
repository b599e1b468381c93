package main

import (
	"context"
	"fmt"
	"time"

	"github.com/venta-hq/redlock/lease"
)

type leaderCmd struct {
	Name string `arg:"" name:"NAME" help:"The election, such as \"scheduler\"."`

	nodesFlag
	Watch  bool   `short:"w" help:"Keep running, with a line for every change, until interrupted."`
	Prefix string `default:"lock:" help:"The prefix of all keys on the nodes. Default \"${default}\"."`
	Quiet  bool   `short:"q" help:"Do not warn of nodes that are down."`
}

func (leaderCmd) Help() string {
	return `Prints one line: the leader, its token, and since when it has led, by its own clock. If nobody leads, it says so. ` +
		`With --watch it prints such a line now and for every change.` + `

Exit codes: 0 somebody leads; 3 nobody leads; 2 misused; 69 too few nodes answered; 1 any other failure.`
}

func (r *leaderCmd) Run() error {
	if r.Name == "" {
		return misused("NAME is empty; name an election, such as scheduler")
	}
	cfg, err := r.config()
	if err != nil {
		return err
	}
	ctx, stop := untilInterrupted()
	defer stop()
	c, err := openNodes(ctx, cfg, newLogger(r.Quiet, false))
	if err != nil {
		return err
	}
	h := &held{c: c}
	defer h.close()
	leases, err := lease.New(c, lease.Config{Prefix: r.Prefix})
	if err != nil {
		return err
	}
	h.keeper = leases
	if r.Watch {
		return r.watch(ctx, leases)
	}
	ctx, cancel := context.WithTimeout(ctx, nodesAnswerWithin)
	defer cancel()
	leader, ok, err := leases.Leader(ctx, r.Name)
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, leaderLine(leader))
	if !ok {
		return failed(exitNobody, nil)
	}
	return nil
}

func (r *leaderCmd) watch(ctx context.Context, leases *lease.Leases) error {
	leaders, err := leases.Observe(ctx, r.Name)
	if err != nil {
		return err
	}
	for leader := range leaders {
		fmt.Fprintln(stdout, leaderLine(leader))
	}
	return nil
}

func leaderLine(l lease.Leader) string {
	if l.Candidate == "" {
		return "nobody leads"
	}
	return fmt.Sprintf("%s  token %d  since %s", shown(l.Candidate), l.Token, l.Since.Format(time.RFC3339))
}
