package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/venta-hq/redlock/lease"
)

// onceCmd groups the commands that list and forget the finished jobs of run
// --once.
type onceCmd struct {
	Ls     onceLsCmd     `cmd:"" help:"List the jobs that are done."`
	Forget onceForgetCmd `cmd:"" help:"Forget that a job is done, so that it runs again."`
}

// onceFlags are the flags of commands that use the records of finished jobs.
type onceFlags struct {
	lockFlags
	DoneTTL time.Duration `name:"done-ttl" default:"24h" placeholder:"D" help:"The --done-ttl of redlock run. Default ${default}."`
}

// jobs opens the nodes and runs fn on the records of jobs.
func (f onceFlags) jobs(fn func(ctx context.Context, v *view, jobs *lease.Leases) error) error {
	if f.DoneTTL < time.Second {
		return misused("--done-ttl %v: must be at least 1s", f.DoneTTL)
	}
	return f.look(f.Prefix, func(ctx context.Context, v *view) error {
		return f.on(v, func(jobs *lease.Leases) error { return fn(ctx, v, jobs) })
	})
}

// on runs fn on the records of jobs on the nodes of v.
func (f onceFlags) on(v *view, fn func(jobs *lease.Leases) error) error {
	jobs, err := lease.New(v.c, lease.Config{Prefix: f.Prefix, DoneTTL: f.DoneTTL})
	if err != nil {
		return err
	}
	defer closeInTime(jobs)
	return fn(jobs)
}

type onceLsCmd struct {
	Begin string `arg:"" optional:"" name:"PREFIX" help:"List only jobs with this prefix."`

	onceFlags
}

func (onceLsCmd) Help() string {
	return `Prints a line for every job of redlock run --once that has succeeded within --done-ttl: its name, when it ended, ` +
		`who ran it, and how long it took. ` + operatorRights + `

  redlock once ls report-

Exit codes: 0 success; 2 bad flags, nodes or rights; 69 too few nodes answered.`
}

// jobDoc is the JSON of a finished job.
type jobDoc struct {
	Job   string    `json:"job"`
	Owner string    `json:"owner"`
	Token int64     `json:"token"`
	Began time.Time `json:"began"`
	Ended time.Time `json:"ended"`
}

func describeJob(o lease.Outcome) jobDoc { return jobDoc{o.Job, o.Owner, o.Token, o.Began, o.Ended} }

func (r *onceLsCmd) Run() error {
	return r.jobs(func(ctx context.Context, v *view, jobs *lease.Leases) error {
		all, err := jobs.Outcomes(ctx, r.Begin)
		if err != nil {
			printTroubles(stdout, v.troubles())
			return listingError(err)
		}
		if r.Output == "json" {
			docs := []jobDoc{}
			for _, o := range all {
				docs = append(docs, describeJob(o))
			}
			return printJSON(docs)
		}
		if len(all) > 0 {
			var rows [][]string
			for _, o := range all {
				rows = append(rows, []string{short(o.Job, 40), ago(o), short(o.Owner, 44), span(o.Ended.Sub(o.Began))})
			}
			table(stdout, []string{"JOB", "DONE", "BY", ">TOOK"}, rows)
			fmt.Fprintln(stdout)
		}
		fmt.Fprintf(stdout, "%s done.\n", plural(len(all), "job is", "jobs are"))
		return nil
	})
}

func ago(o lease.Outcome) string { return span(max(time.Since(o.Ended), 0)) + " ago" }

type onceForgetCmd struct {
	Job string `arg:"" name:"JOB" help:"The job, as it was given to redlock run --once."`

	onceFlags
}

func (onceForgetCmd) Help() string {
	return `The next redlock run --once with this name runs its command again.

  redlock once forget report-2026-11-23

Exit codes: 0 forgotten, 3 no run is on record, 75 it is running, 2 bad flags or nodes, 69 too few nodes answered.`
}

func (r *onceForgetCmd) Run() error {
	return r.jobs(func(ctx context.Context, v *view, jobs *lease.Leases) error {
		ok, err := jobs.Forget(ctx, r.Job)
		switch {
		case errors.Is(err, lease.ErrNotAcquired):
			return failed(exitConflict, fmt.Errorf("%q is being run by %q; nothing was changed", r.Job, holder(err)))
		case err != nil:
			return err
		case !ok:
			return failed(exitNobody, fmt.Errorf("no run of %q is on record; nothing was changed", r.Job))
		}
		if r.Output == "json" {
			return printJSON(struct {
				Forgotten string `json:"forgotten"`
			}{r.Job})
		}
		fmt.Fprintf(stdout, "Forgotten: the next redlock run --once %s runs it again.\n", shown(r.Job))
		return nil
	})
}
