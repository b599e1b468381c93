package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
)

type inspectCmd struct {
	Key string `arg:"" name:"KEY" help:"The key, such as \"order:42\"."`

	lockFlags
}

func (inspectCmd) Help() string {
	return `Shows who holds the lock, since when, when it expires, who waits, and what each node reports.

  redlock inspect order:42
  redlock inspect election:scheduler       the lock of the election "scheduler"
  redlock inspect once:report              the lock of the job "report" of run --once, and whether it is done

Exit codes: 0 the lock is held, 3 it is free, 2 bad flags or nodes, 69 too few nodes answered.`
}

func (r *inspectCmd) Run() error {
	return r.look(r.Prefix, func(ctx context.Context, v *view) error {
		i, err := v.locker.Inspect(ctx, r.Key)
		if len(i.Views) == 0 {
			return err
		}
		var done *lease.Outcome // of run --once
		if job, once := strings.CutPrefix(r.Key, "once:"); once && err == nil {
			done = r.outcome(ctx, v, job)
		}
		if r.Output == "json" {
			d := describeLock(i)
			if done != nil {
				job := describeJob(*done)
				d.Job = &job
			}
			if err := printJSON(d); err != nil {
				return err
			}
		} else {
			printLock(stdout, i, time.Now())
			if done != nil {
				fmt.Fprintf(stdout, "\nThe job was done %s by %s, in %s; redlock once forget lets it run again.\n", ago(*done), shown(done.Owner),
					span(done.Ended.Sub(done.Began)))
			}
		}
		if err == nil && i.State == lock.Free {
			return failed(exitNobody, nil)
		}
		return err
	})
}

// outcome returns the record of a finished job, or nil if there is none.
func (r *inspectCmd) outcome(ctx context.Context, v *view, job string) (done *lease.Outcome) {
	_ = onceFlags{lockFlags: r.lockFlags}.on(v, func(jobs *lease.Leases) error { // without it the lock is still shown
		if o, ok, err := jobs.Outcome(ctx, job); err == nil && ok {
			done = &o
		}
		return nil
	})
	return done
}

// printLock prints everything about one lock.
func printLock(w io.Writer, i lock.Inspection, now time.Time) {
	fmt.Fprintf(w, "%s %s\n\n", shown(i.Key), stateText(i))
	row := func(what, format string, args ...any) {
		fmt.Fprintf(w, "  %-9s"+format+"\n", append([]any{what}, args...)...)
	}
	if h := i.Holder; h.Writer != lock.NoWriter {
		row("mode", "%s", modeText(i))
		if h.Writer == lock.WriterShared {
			row("readers", "%s", readersText(i))
		} else {
			row("holder", "%s", shown(holderText(i))+processText(h))
		}
		if since := i.Since(); !since.IsZero() {
			by := "the holder's clock"
			if h.Since.IsZero() {
				by = "the oldest holder's clock"
			}
			row("since", "%s, %s ago by %s", since.Format(time.DateTime), age(since, now), by)
		}
		if i.Token != 0 {
			row("token", "at most %d, the end of the holder's block of tokens", i.Token)
		}
		row("free", "%s", freeText(i))
	}
	row("nodes", "%d of %d vote for it; %d are needed", i.Votes, len(i.Views), i.Need)
	row("waiting", "%s", waitersText(i, now))
	fmt.Fprintln(w)
	printReaders(w, i, now)
	printSlots(w, i, now)
	var rows [][]string
	for _, v := range i.Views {
		if v.Err != nil {
			what := "does not answer: "
			if unusable(v.Err) {
				what = "cannot be used: "
			}
			rows = append(rows, []string{v.Node, what + errorLine(v.Err)})
			continue
		}
		holder, expires := "-", "-"
		if v.Holder.Writer != lock.NoWriter {
			holder, expires = short(v.Holder.String(), 60), leftText(v.Left)
		}
		rows = append(rows, []string{v.Node, holder, expires, orDash(v.Fence), strconv.Itoa(v.Waiting), votesText(v.Votes)})
	}
	printViews(w, rows)
}

// printViews prints a row for each node. The error of a node that does not
// answer runs over the other columns.
func printViews(w io.Writer, rows [][]string) {
	head := []string{"NODE", "HOLDER", ">LEFT", ">FENCE", ">WAITING", "VOTES"}
	var full, silent [][]string
	for _, row := range rows {
		if len(row) == len(head) {
			full = append(full, row)
		} else {
			silent = append(silent, row)
		}
	}
	if len(full) > 0 {
		table(w, head, full)
	}
	for _, row := range silent {
		fmt.Fprintln(w, strings.Join(row, "  "))
	}
}

// printReaders prints the processes that share a lock.
func printReaders(w io.Writer, i lock.Inspection, now time.Time) {
	if len(i.Readers) == 0 {
		return
	}
	var rows [][]string
	for _, r := range i.Readers {
		rows = append(rows, []string{short(r.String(), 60), shown(r.Process) + "…", age(r.Since, now), leftText(r.Left)})
	}
	table(w, []string{"READER", "PROCESS", ">AGE", ">LEFT"}, rows)
	fmt.Fprintln(w)
}

// printSlots prints the holder of each slot of a key with a limit.
func printSlots(w io.Writer, i lock.Inspection, now time.Time) {
	if len(i.Slots) == 0 {
		return
	}
	var rows [][]string
	for _, s := range i.Slots {
		rows = append(rows, []string{strconv.Itoa(s.Number), short(s.Holder.String(), 60), tokenBound(s.Token), age(s.Holder.Since, now),
			leftText(s.Left), fmt.Sprintf("%d, needs %d", s.Votes, i.Need)})
	}
	table(w, []string{">SLOT", "HOLDER", ">TOKEN", ">AGE", ">LEFT", "VOTES"}, rows)
	fmt.Fprintln(w)
}

func stateText(i lock.Inspection) string {
	switch i.State {
	case lock.Free:
		return "is free."
	case lock.Held:
		if i.Mode() == lock.ModeForced {
			return forcedText(i)
		}
		if i.Holder.Writer == lock.WriterDetached {
			return "was detached by its holder, and is kept for the process that attaches it."
		}
		if i.Holder.Writer == lock.WriterShared {
			return "is shared by readers."
		}
		return "is held."
	case lock.Partial:
		return "is being acquired or released, or is left over: fewer nodes than a quorum have it."
	}
	return "cannot be judged: too few nodes answered."
}

// forcedText describes a lock that was taken away.
func forcedText(i lock.Inspection) string {
	if i.Limit > 0 {
		return "was taken away from its holders. They may work until their TTLs are over; slots that are free can be acquired."
	}
	return "was taken away from its holder, which may work until its TTL is over. Until then the lock is kept."
}

func processText(h lock.Holder) string {
	if h.Process == "" {
		return ""
	}
	return ", process " + shown(h.Process) + "…"
}

func freeText(i lock.Inspection) string {
	switch {
	case i.State == lock.Unknown:
		return "unknown: too few nodes answered"
	case i.State == lock.Partial:
		return "now, on a quorum of nodes"
	case i.Left < 0:
		return "never: the key has no expiry"
	case i.Holder.Writer == lock.WriterForced:
		return "in " + span(i.Left)
	case i.Holder.Writer == lock.WriterDetached:
		return "in " + span(i.Left) + " if it is not attached"
	}
	return "in " + span(i.Left) + " if it is not renewed"
}

// modeText describes the mode of a lock, and what the nodes cannot know about it.
func modeText(i lock.Inspection) string {
	switch mode := i.Mode(); {
	case mode == lock.ModeLimit:
		return fmt.Sprintf("limit: up to %d at a time", i.Limit)
	case mode == lock.ModeExclusive && i.Holder.MayRetain:
		return "exclusive; its process may retain it after a release, and the nodes cannot tell"
	default:
		return string(mode)
	}
}

// readersText says how many processes share a lock.
func readersText(i lock.Inspection) string {
	if len(i.Readers) == 0 {
		return "unknown: no reader is named by enough nodes"
	}
	return countReaders(i, "process", "processes")
}

// countReaders returns the number of readers, or a lower bound if the nodes do
// not name all of them.
func countReaders(i lock.Inspection, one, many string) string {
	count := plural(len(i.Readers), one, many)
	if i.MoreReaders {
		return "at least " + count
	}
	return count
}

func waitersText(i lock.Inspection, now time.Time) string {
	if i.Waiting == 0 {
		return "nobody"
	}
	var each []string
	for _, w := range i.Waiters {
		one := shown(w.Process) + "…"
		if !w.Since.IsZero() {
			one += " for " + span(max(now.Sub(w.Since), 0))
		}
		each = append(each, one)
	}
	if more := i.Waiting - len(i.Waiters); more > 0 {
		each = append(each, fmt.Sprintf("%d more", more))
	}
	return plural(i.Waiting, "process", "processes") + ": " + strings.Join(each, ", ")
}

func votesText(b bool) string {
	if b {
		return "yes"
	}
	return "not yet"
}
