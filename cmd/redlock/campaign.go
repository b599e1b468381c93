package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/internal/face"
	"github.com/venta-hq/redlock/lease"
)

type campaignCmd struct {
	Name    string   `arg:"" name:"NAME" help:"The election, such as \"scheduler\"."`
	Command []string `arg:"" passthrough:"partial" name:"CMD" help:"The command and its arguments, best after \"--\"."`

	runFlags
	Candidate string `placeholder:"LABEL" help:"What redlock leader shows. Default HOST:PID."`
}

func (campaignCmd) Help() string {
	return `Best written as redlock campaign [flags] NAME -- CMD…, for example: redlock campaign scheduler -- ./scheduler

Waits until this process leads the election NAME, and runs CMD while it leads. The next candidate leads as soon as CMD has ended. ` +
		`CMD sees REDLOCK_KEY, which is NAME, and REDLOCK_TOKEN, which only grows from one leader to the next.` + `

If the lead is lost, CMD's process group gets SIGTERM before another process can lead, and SIGKILL after --grace. ` +
		`A candidate keeps waiting while too few nodes answer. ` +
		`Signals, input, output and exit codes are those of redlock run; run it again to be a candidate again.`
}

func (r *campaignCmd) Run() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if r.Name == "" {
		bad("NAME is empty; name an election, such as scheduler")
	}
	r.runFlags.check(&r.Command, "redlock campaign NAME -- CMD…", bad)
	if len(errs) > 0 {
		return failed(exitUsage, errors.Join(errs...))
	}
	cfg, path, err := r.prepare(r.Command)
	if err != nil {
		return err
	}
	return r.runHeld(strconv.Quote(r.Name), path, r.Command, func(ctx context.Context) (*held, error) { return r.campaign(ctx, cfg) })
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
	var l *lease.Lease
	if err == nil {
		h.keeper = leases
		wait, cancel := ctx, context.CancelFunc(func() {})
		if r.Wait != nil {
			wait, cancel = context.WithTimeout(ctx, *r.Wait-time.Since(begun))
		}
		log.Info("campaigning for " + strconv.Quote(r.Name))
		l, err = leases.Campaign(wait, r.Name, face.In(leases).Config().Owner)
		cancel()
	}
	if err != nil {
		_ = h.close()
		switch {
		case ctx.Err() != nil, errors.Is(err, lease.ErrNoQuorum) && !errors.Is(err, lease.ErrNotAcquired):
		case holder(err) != "":
			err = failed(exitConflict, fmt.Errorf("%q is led by %q; waited %v without success", r.Name, holder(err), *r.Wait))
		case errors.Is(err, context.DeadlineExceeded): // no leader was seen, or it has the key but has not announced itself yet
			err = failed(exitConflict, errs.Errorf("waited %v without success to lead %q: %w", *r.Wait, r.Name, err))
		}
		return nil, err
	}
	h.lease, h.tokens = l, tokenOf(r.Name, l.Token())
	log.Info("leading "+strconv.Quote(r.Name), "token", l.Token())
	return h, nil
}
