package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/lock"
	"github.com/venta-hq/redlock/mutex"
)

type lsCmd struct {
	Begin string `arg:"" optional:"" name:"PREFIX" help:"List only keys that begin so."`

	lockFlags
}

func (lsCmd) Help() string {
	return `Prints a line for every lock that some node says is held:

  HOLDER   the label given as Owner, and where its process runs. "redsync" and "another library" are what else may have
           written the key; whoever can write to the nodes can forge any of it.
  TOKEN    a bound, "≤": a holder owns a block of fencing tokens, which it uses one after another, and the nodes know only
           where the block ends. "-" where the nodes do not agree on one, or there is none.
  AGE      since the holder's process acquired it, by that process's clock; it may have been handed on within the process.
           "-" where it is not known, as for redsync.
  LEFT     when it comes free if it is not renewed; "-" if a quorum of nodes can be had already, "?" if too
           few nodes answered to tell.
  NODES    one sign for each: + has it, ~ has it but does not vote yet, x names another, - has nothing, ? did not answer.
           Fewer than a quorum of + means: it is being acquired or released, or is left over and expires.
  WAITING  processes that queue for it.

Without a quorum it shows what the nodes say that can be reached, and says that this is PARTIAL.

The names are found by SCAN, never by KEYS. ` + operatorRights + `

  redlock ls
  redlock ls order: --output json | jq -r '.locks[] | select(.waiting > 0) | .key'

Exit codes: 0, 2 bad flags, nodes or rights, 69 too few nodes answered: the list is partial.`
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
				fmt.Fprintln(stdout, problem(listingError(err)))
			}
			printTroubles(stdout, troubles)
		}
		if partial {
			return failed(exitNoQuorum, nil)
		}
		return nil
	})
}

// listingError is the error of a list, with what to do about it.
func listingError(err error) error {
	var short *cluster.QuorumError
	if !errors.As(err, &short) {
		return err
	}
	for _, n := range short.Nodes {
		if refuses(n.Err) && strings.HasPrefix(n.Err.Error(), "NOPERM") {
			return misused("locks can not be listed: node %s does not allow SCAN to this user (%w); "+
				"allow it with ACL SETUSER name +scan, or name one lock: redlock inspect KEY", n.Node, n.Err)
		}
	}
	return fmt.Errorf("PARTIAL, there may be other locks: only %s listed, and %d are needed%w",
		plural(short.Got, "node could be", "nodes could be"), short.Need, quietly{err})
}

// quietly is an error that is in the chain, and not in the text.
type quietly struct{ error }

func (quietly) Error() string   { return "" }
func (q quietly) Unwrap() error { return q.error }

// listing is the JSON of ls.
type listing struct {
	Locks    []lockDoc `json:"locks"`
	Troubles []trouble `json:"unreachable"`
	Partial  bool      `json:"partial"` // fewer nodes than a quorum could be listed: there may be other locks
}

// lockDoc is the JSON of one lock.
type lockDoc struct {
	Key     string     `json:"key"`
	State   string     `json:"state"`
	Holder  *holderDoc `json:"holder"`
	Token   int64      `json:"token_at_most,omitempty"` // the end of the block of tokens that the holder owns
	AgeMs   *float64   `json:"age_ms,omitempty"`
	LeftMs  *float64   `json:"left_ms"` // null: it never comes free, or, in state unknown, it is not known
	Votes   int        `json:"votes"`
	Need    int        `json:"need"`
	Waiting int        `json:"waiting"`
	Job     *jobDoc    `json:"done,omitempty"` // of run --once
	Nodes   []viewDoc  `json:"nodes"`
}

type holderDoc struct {
	Writer  string `json:"writer"`
	Process string `json:"process,omitempty"`
	Host    string `json:"host,omitempty"`
	PID     int    `json:"pid,omitempty"`
	Name    string `json:"name,omitempty"`
	Since   string `json:"since,omitempty"`
}

type viewDoc struct {
	Node    string     `json:"node"`
	Error   string     `json:"error,omitempty"`
	Votes   bool       `json:"votes"`
	Holder  *holderDoc `json:"holder"`
	LeftMs  *float64   `json:"left_ms,omitempty"`
	Fence   int64      `json:"fence,omitempty"`
	Waiting int        `json:"waiting"`
}

func describeLock(i lock.Inspection) lockDoc {
	d := lockDoc{Key: i.Key, State: i.State.String(), Holder: describeHolder(i.Holder), Token: i.Token,
		Votes: i.Votes, Need: i.Need, Waiting: i.Waiting, LeftMs: leftMs(i.Left)}
	if i.State == mutex.Unknown {
		d.LeftMs = nil
	}
	if !i.Holder.Since.IsZero() {
		age := ms(time.Since(i.Holder.Since))
		d.AgeMs = &age
	}
	for _, v := range i.Views {
		n := viewDoc{Node: v.Node, Votes: v.Votes, Holder: describeHolder(v.Holder), Fence: v.Fence, Waiting: v.Waiting}
		if n.Holder != nil {
			n.LeftMs = leftMs(v.Left)
		}
		if v.Err != nil {
			n.Error = problem(v.Err)
		}
		d.Nodes = append(d.Nodes, n)
	}
	return d
}

func describeHolder(h lock.Holder) *holderDoc {
	if h.Writer == mutex.NoWriter {
		return nil
	}
	d := &holderDoc{Writer: h.Writer.String(), Process: h.Process, Host: h.Host, PID: h.PID, Name: h.Name}
	if !h.Since.IsZero() {
		d.Since = h.Since.UTC().Format("2006-01-02T15:04:05.000Z07:00")
	}
	return d
}

func leftMs(d time.Duration) *float64 {
	if d < 0 {
		return nil
	}
	left := ms(d)
	return &left
}

// printLocks prints the table of ls, and what it comes to.
func printLocks(w io.Writer, locks []lock.Inspection, now time.Time) {
	waiting := 0
	for _, i := range locks {
		waiting += i.Waiting
	}
	if len(locks) > 0 {
		table(w, lockColumns, lockRows(locks, now))
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "%s; %s.\n", plural(len(locks), "lock", "locks"), plural(waiting, "process waits", "processes wait"))
}

var lockColumns = []string{"KEY", "HOLDER", ">TOKEN", ">AGE", ">LEFT", "NODES", ">WAITING"}

func lockRows(locks []lock.Inspection, now time.Time) [][]string {
	var rows [][]string
	for _, i := range locks {
		rows = append(rows, []string{short(i.Key, 40), short(i.Holder.String(), 44), within(i.Token), age(i.Holder, now), leftOf(i),
			signs(i), strconv.Itoa(i.Waiting)})
	}
	return rows
}

// within is a token that is known up to the block it is in.
func within(token int64) string {
	if token == 0 {
		return "-"
	}
	return "≤" + number64(token)
}

func number64(n int64) string {
	if n == 0 {
		return "-"
	}
	return strconv.FormatInt(n, 10)
}

func age(h lock.Holder, now time.Time) string {
	if h.Since.IsZero() {
		return "-"
	}
	return span(max(now.Sub(h.Since), 0))
}

// leftOf is when a lock comes free, unless it is.
func leftOf(i lock.Inspection) string {
	switch i.State {
	case mutex.Partial:
		return "-"
	case mutex.Unknown:
		return "?"
	}
	return left(i.Left)
}

func left(d time.Duration) string {
	if d < 0 {
		return "never"
	}
	return span(d)
}

// signs is a sign for each node.
func signs(i lock.Inspection) string {
	s := ""
	for _, v := range i.Views {
		s += sign(v, i.Holder)
	}
	return s
}

func sign(v lock.View, holder lock.Holder) string {
	switch {
	case v.Err != nil:
		return "?"
	case v.Holder.Writer == mutex.NoWriter:
		return "-"
	case v.Holder != holder:
		return "x"
	case !v.Votes:
		return "~"
	}
	return "+"
}
