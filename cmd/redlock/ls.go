package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/present"
	"github.com/venta-hq/redlock/lock"
)

type lsCmd struct {
	Begin string `arg:"" optional:"" name:"PREFIX" help:"List only keys with this prefix."`

	lockFlags
}

func (lsCmd) Help() string {
	return `Prints a line for every lock that at least one node reports as held:

  MODE     exclusive: by one holder. shared: by readers. limit: by holders of slots. detached: by nobody, for the process
           that attaches it. forced: taken away; its former holder may work until its TTL is over, and notices at its
           next renewal.
  HOLDER   the label given as --owner or Config.Owner, and the host and id of the process; "redsync" or "another
           library" if those wrote the key. Anyone who can write to the nodes can forge it.
  TOKEN    an upper bound, "≤": a holder owns a block of fencing tokens, which it uses one after another, and the
           nodes know only the end of the block. "-" if the nodes do not agree on one, or there is none.
  AGE      since the holder's process acquired it, by that process's clock; it may have been handed over within the
           process since. Of several holders, the oldest. "-" if unknown, as for redsync.
  LEFT     time until it is free if it is not renewed; "-" if a quorum of nodes is already free, "?" if too few
           nodes answered.
  NODES    one sign for each: + has it, ~ has it but does not vote yet, x names another holder, - has nothing, ? did
           not answer. Fewer than a quorum of + means that it is being acquired or released, or is about to expire.
  WAITING  processes in its queue.

A key that is shared has a line for itself and one for each process that reads it. A key with a limit has a line for
itself and one for each slot that is taken, with, in NODES, how many nodes name its holder, and the quorum. A key that
its process retains looks exclusive: only that process knows that nobody works under it.

Without a quorum it lists what the reachable nodes report, marked as PARTIAL.

It uses SCAN, never KEYS. ` + operatorRights + `

  redlock ls
  redlock ls order: --output json | jq -r '.locks[] | select(.waiting > 0) | .key'

Exit codes: 0 success; 2 bad flags, nodes or rights; 69 too few nodes answered, so the list is partial.`
}

func (r *lsCmd) Run() error {
	return r.look(r.Prefix, func(ctx context.Context, v *view) error {
		locks, err := v.locker.List(ctx, r.Begin)
		troubles := v.troubles()
		partial := errors.Is(err, cluster.ErrNoQuorum)
		if err := listingError(err); err != nil && (!partial || !errors.Is(err, cluster.ErrNoQuorum)) {
			return err
		}
		if r.Output == "json" {
			doc := listing{Locks: []lockDoc{}, Troubles: troubles, Partial: partial}
			for _, i := range locks {
				doc.Locks = append(doc.Locks, describeLock(i))
			}
			if err := printJSON(doc); err != nil {
				return err
			}
		} else {
			printLocks(stdout, locks, time.Now())
			if partial {
				fmt.Fprintln(stdout, errorLine(listingError(err)))
			}
			printTroubles(stdout, troubles)
		}
		if partial {
			return failed(exitNoQuorum, nil)
		}
		return nil
	})
}

// listingError adds advice to the error of a listing.
func listingError(err error) error {
	var short *cluster.QuorumError
	if !errors.As(err, &short) {
		return err
	}
	for _, n := range short.Nodes {
		if present.Denied(n.Err) {
			return misused("locks cannot be listed: node %s does not allow SCAN to this user (%w); "+
				"allow it with ACL SETUSER name +scan, or name one lock: redlock inspect KEY", n.Node, n.Err)
		}
	}
	return fmt.Errorf("PARTIAL, there may be other locks: only %s listed, and %d are needed%w",
		plural(short.Got, "node could be", "nodes could be"), short.Need, hiddenError{err})
}

// hiddenError is an error that is in the chain, but not in the text.
type hiddenError struct{ error }

func (hiddenError) Error() string   { return "" }
func (q hiddenError) Unwrap() error { return q.error }

// listing is the JSON of ls.
type listing struct {
	Locks    []lockDoc     `json:"locks"`
	Troubles []nodeTrouble `json:"unreachable"`
	Partial  bool          `json:"partial"` // fewer nodes than a quorum could be listed: there may be other locks
}

// printLocks prints the table of ls, and its totals.
func printLocks(w io.Writer, locks []lock.Inspection, now time.Time) {
	if len(locks) > 0 {
		rows, _ := lockRows(locks, now, math.MaxInt)
		table(w, lockColumns, rows)
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "%s; %s.\n", plural(len(locks), "lock", "locks"), plural(totalWaiting(locks), "process waits", "processes wait"))
}

// totalWaiting returns the number of processes that wait for these locks.
func totalWaiting(locks []lock.Inspection) (n int) {
	for _, i := range locks {
		n += i.Waiting
	}
	return n
}

var lockColumns = []string{"KEY", "MODE", "HOLDER", ">TOKEN", ">AGE", ">LEFT", "NODES", ">WAITING"}

// lockRows returns the rows of the table: each lock, followed by its readers or
// slots. Of these it has the first parts, and a row that counts the rest. of[i] is
// the index in locks of the lock that rows[i] is about.
func lockRows(locks []lock.Inspection, now time.Time, parts int) (rows [][]string, of []int) {
	for n, i := range locks {
		add := func(row ...string) { rows, of = append(rows, row), append(of, n) }
		add(keyText(i.Key), string(i.Mode()), short(holderText(i), 44), tokenBound(i.Token), age(i.Since(), now), leftOfLock(i),
			nodeSigns(i), strconv.Itoa(i.Waiting))
		for _, r := range i.Readers[:min(parts, len(i.Readers))] {
			add("  reader", "", short(r.String(), 44), "", age(r.Since, now), leftText(r.Left), "", "")
		}
		for _, s := range i.Slots[:min(parts, len(i.Slots))] {
			add("  slot "+strconv.Itoa(s.Number), "", short(s.Holder.String(), 44), tokenBound(s.Token), age(s.Holder.Since, now),
				leftText(s.Left), fmt.Sprintf("%d, needs %d", s.Votes, i.Need), "")
		}
		if more := max(len(i.Readers), len(i.Slots)); more > parts {
			rest := plural(more-parts, "more slot", "more slots")
			if len(i.Readers) > 0 {
				rest = plural(more-parts, "more reader", "more readers")
			}
			add("  … "+rest, "", "", "", "", "", "", "")
		}
	}
	return rows, of
}

// keyText formats a key for a table. It quotes a key with spaces around it, which
// would look like a row that belongs to another key.
func keyText(key string) string {
	if strings.TrimSpace(key) != key {
		key = `"` + key + `"`
	}
	return short(key, 40)
}

// holderText returns the holder of a lock, or the number of its holders.
func holderText(i lock.Inspection) string {
	switch {
	case i.Limit > 0:
		return fmt.Sprintf("%d of %d slots taken", len(i.Slots), i.Limit)
	case len(i.Readers) > 0:
		return countReaders(i, "reader", "readers")
	}
	return i.Holder.String()
}

// tokenBound formats the end of the block of tokens that a holder owns.
func tokenBound(token int64) string {
	if token == 0 {
		return "-"
	}
	return "≤" + orDash(token)
}

func orDash(n int64) string {
	if n == 0 {
		return "-"
	}
	return strconv.FormatInt(n, 10)
}

func age(since, now time.Time) string {
	if since.IsZero() {
		return "-"
	}
	return span(max(now.Sub(since), 0))
}

// leftOfLock returns the time until a lock is free.
func leftOfLock(i lock.Inspection) string {
	switch i.State {
	case lock.Partial:
		return "-"
	case lock.Unknown:
		return "?"
	}
	return leftText(i.Left)
}

func leftText(d time.Duration) string {
	if d < 0 {
		return "never"
	}
	return span(d)
}

// nodeSigns returns one sign for each node. lsCmd.Help explains the signs.
func nodeSigns(i lock.Inspection) string {
	s := ""
	for _, v := range i.Views {
		s += nodeSign(v, i.Holder)
	}
	return s
}

func nodeSign(v lock.View, holder lock.Holder) string {
	switch {
	case v.Err != nil:
		return "?"
	case v.Holder.Writer == lock.NoWriter:
		return "-"
	case v.Holder != holder:
		return "x"
	case !v.Votes:
		return "~"
	}
	return "+"
}
