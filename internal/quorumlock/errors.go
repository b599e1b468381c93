package quorumlock

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/internal/nodeset"
)

var (
	// ErrNotAcquired is matched by a *NotAcquiredError: another holder has the
	// key. Acquiring calls return it, also when their wait was over, unless too
	// few nodes answered: that is a *cluster.QuorumError.
	ErrNotAcquired = errors.New("redlock: not acquired")

	// ErrLost is matched by a *LostError: the hold ended although it was not
	// released. ExtendNow and Release return it, and it is the cause of a
	// lease's context.
	ErrLost = errors.New("redlock: lost")

	// ErrReleased is returned by methods of a hold that was released, and is
	// the cause of its lease's context.
	ErrReleased = errors.New("redlock: released")
)

// WaitEnded is the error of a wait that ended without success: a copy of last,
// which is that of the last attempt, with why the wait ended in its chain.
func WaitEnded(last, why error) error {
	var held *NotAcquiredError
	var few *nodeset.QuorumError
	switch {
	case errors.As(last, &held):
		e := *held
		e.last, e.Reason, e.Err = held.Reason, "waited without success, "+held.Reason, why
		return &e
	case errors.As(last, &few):
		e := *few
		e.Err = why
		return &e
	case why != nil:
		return errs.Errorf("%w: %w", last, why)
	}
	return last
}

// NotWithin is the error of a wait that ended with err, a copy of it, because it
// was bounded to d. Its own timer is not the caller's context.
func NotWithin(err error, d time.Duration) error {
	var held *NotAcquiredError
	switch {
	case errors.As(err, &held):
		e := *held
		e.Class, e.Reason, e.Err = ClassTimeout, fmt.Sprintf("not acquired within %v, %s", d, cmp.Or(held.last, held.Reason)), nil
		return &e
	case errors.As(err, new(*nodeset.QuorumError)):
		return WaitEnded(err, fmt.Errorf("waited %v", d))
	}
	return err
}

// Answer is what one node said to one attempt.
type Answer struct {
	Node   string
	Result Result
	Holder string        // the holder's label; "" where there is none or it is not known
	Left   time.Duration // for how long at most; negative: not known
	Err    error         // why it did not answer
}

// Result is the kind of an Answer.
type Result uint8

const (
	Pending Result = iota // has not answered yet
	Granted               // the key is ours there
	Refused               // it is another's
	Failed                // no answer, or one that says nothing; the key may be ours there
	Unasked               // it was not asked
	Healed                // the key was gone there, and has been set again
)

func (r Result) String() string {
	return [...]string{"pending", "granted", "refused", "failed", "unasked", "healed"}[r]
}

func (a Answer) String() string {
	s := "node " + a.Node + ": " + a.Result.String()
	switch {
	case a.Err != nil:
		return "node " + a.Node + ": " + errs.Text(a.Err)
	case a.Holder != "":
		s += fmt.Sprintf(" (held by %q)", a.Holder)
	}
	return s
}

func listAnswers(b *strings.Builder, answers []Answer) {
	for i, a := range answers {
		sep := "; "
		if i == 0 {
			sep = " ("
		}
		b.WriteString(sep + a.String())
	}
	if len(answers) > 0 {
		b.WriteString(")")
	}
}

// NotAcquiredError names the holder of the key. It matches ErrNotAcquired and the nodes' errors.
type NotAcquiredError struct {
	Key     string
	Need    int           // votes needed
	Got     int           // votes granted
	FreeIn  time.Duration // when a quorum could be free, if nobody extends or releases; negative: not known
	Split   bool          // several attempts have parts of the key and none a quorum: try again shortly
	Class   Class         // the reason in a word
	Reason  string        // for people: "held by another", "the answers came too late", ...
	Holder  string        // the holder's label, as most nodes report it; "" where it is not known
	Answers []Answer
	Err     error // what else belongs to it, such as the error of a context; nil mostly

	last     string // the Reason of the last attempt, if a wait ended
	next     int    // where to start looking for a slot next, counted from 1; 0: anywhere
	retained bool   // the holder may only retain the key: see Request.Retains
	readers  bool   // it is held if the readers that the nodes have are the same
}

// MayBeSplit reports whether attempts may have split the votes. That readers have
// the key on a quorum of nodes does not say whether one of them has the quorum.
func (e *NotAcquiredError) MayBeSplit() bool { return e.Split || e.readers }

// MayBeRetained reports whether an attempt failed with err because a process holds
// the key that may only retain it, and gives it up when it is asked.
func MayBeRetained(err error) bool {
	var e *NotAcquiredError
	return errors.As(err, &e) && e.retained
}

func (e *NotAcquiredError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "redlock: %q not acquired: %s: %d of the %d nodes needed granted it", e.Key, e.Reason, e.Got, e.Need)
	listAnswers(&b, e.Answers)
	if e.Err != nil {
		b.WriteString(": " + errs.Text(e.Err))
	}
	return b.String()
}

// Is makes errors.Is(err, ErrNotAcquired) true.
func (e *NotAcquiredError) Is(target error) bool { return target == ErrNotAcquired }

// Unwrap gives the nodes' errors.
func (e *NotAcquiredError) Unwrap() []error { return unwrap(e.Answers, e.Err) }

// LostError reports why a hold ended before it was released. It matches ErrLost
// and the nodes' errors.
type LostError struct {
	Key     string
	Token   int64
	Class   Class    // the reason in a word
	Reason  string   // for people: "expired", "held for MaxHold", ...
	Answers []Answer // what each node said last; nil where it does not matter
}

func (e *LostError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "redlock: %q lost (token %d): %s", e.Key, e.Token, e.Reason)
	listAnswers(&b, e.Answers)
	return b.String()
}

// Is makes errors.Is(err, ErrLost) true.
func (e *LostError) Is(target error) bool { return target == ErrLost }

// Unwrap gives the nodes' errors.
func (e *LostError) Unwrap() []error { return unwrap(e.Answers, nil) }

// holderOf is the label that the most answers name.
func holderOf(answers []Answer) (most string) {
	count := map[string]int{}
	for _, a := range answers {
		if a.Holder == "" {
			continue
		}
		if count[a.Holder]++; count[a.Holder] > count[most] {
			most = a.Holder
		}
	}
	return most
}

func unwrap(answers []Answer, also error) []error {
	var all []error
	for _, a := range answers {
		if a.Err != nil {
			all = append(all, &nodeset.NodeError{Node: a.Node, Err: a.Err})
		}
	}
	if also != nil {
		all = append(all, also)
	}
	return all
}
