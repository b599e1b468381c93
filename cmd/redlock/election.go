package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/lease"
)

type campaignCmd struct {
	Name    string   `arg:"" name:"NAME" help:"The election, as \"scheduler\"."`
	Command []string `arg:"" passthrough:"partial" name:"CMD" help:"The command and its arguments, best after \"--\"."`

	jobFlags
	Candidate string `placeholder:"LABEL" help:"What redlock leader shows. Default HOST:PID."`
}

func (campaignCmd) Help() string {
	return `Best written as redlock campaign [flags] NAME -- CMD…, for example: redlock campaign scheduler -- ./scheduler

Waits until this process leads the election NAME, and runs CMD while it leads. The next candidate leads as soon as CMD has ended. ` +
		`CMD sees REDLOCK_KEY, which is NAME, and REDLOCK_TOKEN, which only grows from one leader to the next.` + `

If the lead is lost, CMD's process group gets SIGTERM before anybody else can lead, and SIGKILL after --grace. ` +
		`A candidate waits on while too few nodes answer. ` +
		`Signals, input, output and exit codes are those of redlock run; run it again to be a candidate again.`
}

func (r *campaignCmd) Run() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if r.Name == "" {
		bad("NAME is empty; name an election, as scheduler")
	}
	r.jobFlags.check(&r.Command, "redlock campaign NAME -- CMD…", bad)
	if len(errs) > 0 {
		return failed(exitUsage, errors.Join(errs...))
	}
	cfg, err := r.config()
	if err != nil {
		return err
	}
	path, err := exec.LookPath(r.Command[0])
	if err != nil {
		return cannotRun(r.Command[0], err)
	}
	return r.runHeld(r.Name, path, r.Command, func(ctx context.Context) (*held, error) { return r.campaign(ctx, cfg) })
}

func (r *campaignCmd) campaign(ctx context.Context, cfg cluster.Config) (*held, error) {
	log := newLogger(r.Quiet, r.Verbose)
	begun := time.Now()
	c, err := r.open(ctx, cfg, r.Wait == nil || *r.Wait > 0, log)
	if err != nil {
		return nil, err
	}
	h := &held{c: c}
	leases, err := lease.New(c, lease.Config{TTL: r.TTL, Prefix: r.Prefix, Owner: r.Candidate})
	if errors.Is(err, cluster.ErrConfig) {
		err = misused("%s", strings.ReplaceAll(err.Error(), "Config.Owner", "--candidate"))
	}
	if err == nil {
		h.keeper = leases
		wait, cancel := ctx, context.CancelFunc(func() {})
		if r.Wait != nil {
			wait, cancel = context.WithTimeout(ctx, *r.Wait-time.Since(begun))
		}
		log.Info("campaigning for " + strconv.Quote(r.Name))
		h.lease, err = leases.Campaign(wait, r.Name, leases.Config().Owner)
		cancel()
	}
	if err != nil {
		_ = h.close()
		switch {
		case ctx.Err() != nil, errors.Is(err, lease.ErrNoQuorum) && !errors.Is(err, lease.ErrNotAcquired):
		case holder(err) != "":
			err = failed(exitConflict, fmt.Errorf("%q is led by %q; waited %v without success", r.Name, holder(err), *r.Wait))
		case errors.Is(err, context.DeadlineExceeded): // no leader was seen, or it had the key, and had not said yet that it leads
			err = failed(exitConflict, fmt.Errorf("waited %v without success to lead %q: %w", *r.Wait, r.Name, err))
		}
		return nil, err
	}
	log.Info("leading "+strconv.Quote(r.Name), "token", h.lease.Token())
	return h, nil
}

type leaderCmd struct {
	Name string `arg:"" name:"NAME" help:"The election, as \"scheduler\"."`

	nodesFlag
	Watch  bool   `short:"w" help:"Go on, with a line for every change, until interrupted."`
	Prefix string `default:"lock:" help:"What comes before all keys on the nodes. Default \"${default}\"."`
	Quiet  bool   `short:"q" help:"Do not warn of nodes that are down."`
}

func (leaderCmd) Help() string {
	return `Prints one line: the leader, its token, and since when it leads by its own clock. If nobody leads it prints so. ` +
		`With --watch it prints such a line now and for every change.` + `

Exit codes: 0 somebody leads; 3 nobody leads; 2 misused; 69 too few nodes answered; 1 any other failure.`
}

// asking bounds how long it takes to find out who leads.
const asking = soon

func (r *leaderCmd) Run() error {
	if r.Name == "" {
		return misused("NAME is empty; name an election, as scheduler")
	}
	cfg, err := r.config()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
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
	ctx, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	leader, ok, err := leases.Leader(ctx, r.Name)
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, describe(leader))
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
		fmt.Fprintln(stdout, describe(leader))
	}
	return nil
}

func describe(l lease.Leader) string {
	if l.Candidate == "" {
		return "nobody leads"
	}
	return fmt.Sprintf("%s  token %d  since %s", shown(l.Candidate), l.Token, l.Since.Format(time.RFC3339))
}
