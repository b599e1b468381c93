package keepalive

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/internal/quorumlock"
	"github.com/venta-hq/redlock/internal/waitqueue"
)

// Await is Acquire with the options as a Request, and without the checkpoint. Its
// wait is not bounded by Request.Wait: see Request.Within.
//
// While it waits, this process stands in a queue for the key on each node. A
// release notifies the first process of the queue, on each node that had granted
// the key. When a quorum has notified it, the key can be acquired. A timer backs up
// the notifications, so a crashed holder's key is acquired as soon as it expires.
func (s *Leases) Await(ctx context.Context, key string, req Request) (*Lease, error) {
	s.inflight.begin()
	defer s.inflight.end()
	p, err := s.plan(ctx, key, req)
	if err != nil {
		return nil, err
	}
	giveUpKept(s.queues.TakeKept(p.lock)) // it is for callers of Lock
	return s.get(ctx, p)
}

// Try is Await for a caller that does not wait.
func (s *Leases) Try(ctx context.Context, key string, req Request) (*Lease, error) {
	req.Bounded, req.Wait = true, 0
	return s.Await(ctx, key, req)
}

// get makes one attempt, or waits until the key is acquired, ctx ends, or
// Config.Backoff ends the wait, as the request says.
func (s *Leases) get(ctx context.Context, p plan) (*Lease, error) {
	if !p.req.Waits() {
		began := time.Now()
		l, err := s.unsplit(ctx, p)
		if quorumlock.MayBeRetained(err) && !p.req.waitsLater {
			l, err = s.askRetainer(ctx, time.Since(began), err, func(ctx context.Context) (*Lease, error) {
				return s.contend(ctx, p, noBackoff)
			})
		}
		if err == nil {
			s.leavePlace(p, l)
		}
		return l, err
	}
	return s.contend(ctx, p, s.cfg.Backoff)
}

// leavePlace gives up this process's place in the nodes' queues, or moves it to
// the end, after an acquisition that did not wait. Otherwise the waiters of this
// process would come before those of others because of it. If none of them waits
// for the key, the place was left by a wait whose leave was lost.
func (s *Leases) leavePlace(p plan, l *Lease) {
	hold := l.t.hold
	s.queues.LeaveUnqueued(p.lock, p.req.Shared, func(others bool) {
		if others || hold.WasQueued() {
			hold.Dequeue(others)
		}
	})
}

// contend is get for a request that waits.
func (s *Leases) contend(ctx context.Context, p plan, backoff func(int) time.Duration) (l *Lease, err error) {
	w := waiting{s: s, p: p, backoff: backoff, me: s.contender(p), queues: s.open()}
	defer func() { // also if Config.Backoff panics
		queued := w.queues && (l == nil || w.refused || l.t.hold.WasRefused()) || l != nil && l.t.hold.WasQueued()
		w.me.Won = l != nil
		s.queues.Leave(w.me, queued, func(others bool) {
			switch {
			case l != nil:
				l.t.hold.Dequeue(others)
			case !others && p.req.Shared:
				s.red.LeaveShared(p.lock)
			case !others:
				s.red.LeaveLock(p.lock)
			}
		})
	}()
	l, err = w.attempt(ctx)
	for l == nil && err == nil {
		if err = w.pause(ctx); err == nil {
			l, err = w.attempt(ctx)
		}
	}
	return l, err
}

// waiting is one wait: attempts, and pauses between them.
type waiting struct {
	s  *Leases
	p  plan
	me *waitqueue.Contender

	backoff  func(pauses int) time.Duration
	queues   bool // attempts that are refused stand in the nodes' queues
	refused  bool // an attempt was
	last     error
	began    time.Time // the last attempt
	took     time.Duration
	refusals int // pauses since a quorum last notified us
	splits   int // in a row
}

// attempt asks once. Neither a lease nor an error means that the wait goes on.
func (w *waiting) attempt(ctx context.Context) (*Lease, error) {
	s, p, now := w.s, w.p, time.Now()
	s.queues.DropNews(w.me, now, s.red.Config().HandOver)
	first := w.began.IsZero()
	if !first {
		p.req.TokenBlock = blockSince(p.req.TokenBlock, p.req.Limit, now.Sub(w.began))
	}
	w.began = now
	l, err := s.attempt(ctx, p, w.queues, first)
	w.took = time.Since(now)
	switch {
	case err == nil:
		return l, nil
	case transient(err):
		w.note(err)
	case ctx.Err() == nil:
		return nil, err
	case w.last == nil:
		w.last = &NotAcquiredError{Key: p.key, Need: s.c.Quorum(), FreeIn: -1, Class: quorumlock.ClassLate, Reason: "the nodes had not answered"}
	}
	if ctx.Err() != nil {
		return nil, w.over(ctx)
	}
	w.refused = true
	return nil, nil
}

// note records why the last attempt failed. The first of several failures
// without a quorum is logged: the wait may be long, and nothing else shows its
// reason.
func (w *waiting) note(err error) {
	var held *NotAcquiredError
	if errors.As(err, &held) {
		err = held
	} else if w.last == nil || errors.Is(w.last, ErrNotAcquired) {
		w.s.c.Say(slog.LevelWarn, "waiting for a quorum", "key", w.p.key, "error", err)
	}
	w.last = err
	w.s.queues.Refused(w.me, err)
}

// over is the error of a wait that ends with ctx.
func (w *waiting) over(ctx context.Context) error {
	return quorumlock.WaitEnded(w.last, errs.Ended(ctx))
}

// pause waits until it is time for the next attempt. The error says that the wait
// is over.
func (w *waiting) pause(ctx context.Context) error {
	if !w.queues { // too few nodes could notify us: ask once more when they can
		w.queues = true
		select {
		case <-w.s.opened:
			return nil
		case <-ctx.Done():
			return w.over(ctx)
		case <-w.s.closing:
			return w.s.err(w.p.key)
		}
	}
	w.refusals++
	limit := w.backoff(w.refusals)
	if limit < 0 {
		return quorumlock.WaitEnded(w.last, nil)
	}
	held := outlook(w.last)
	w.splits++
	if !held.MayBeSplit() {
		w.splits = 0
	}
	d := nextLook(held, limit, w.took, w.splits)
	if !w.p.req.Shared && w.p.req.Limit == 0 {
		w.s.red.Pauses(w.p.lock, d)
	}
	agreed, err := w.sleep(ctx, d)
	if agreed {
		w.refusals = 0
	}
	return err
}

// sleep waits for d, or less if a notification arrives, and reports whether
// enough arrived for an immediate attempt. An error means that the wait is
// over.
func (w *waiting) sleep(ctx context.Context, d time.Duration) (agreed bool, err error) {
	end := time.Now().Add(d)
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return false, nil
		case <-w.me.Notified:
			if w.p.req.Limit > 0 && w.s.queues.HandedOver(w.me) {
				return false, nil
			}
			missing, doubted, retry := w.s.queues.Missing(w.me)
			switch {
			case retry:
				return false, nil
			case quorumlock.Uncounted(w.last): // an attempt at each turn would only keep the key from others
				continue
			case missing == 0:
				return true, nil
			}
			now := time.Now()
			at := now.Add(grace(missing, w.took, w.s.red.Config().HandOver))
			if at.Before(doubted) {
				at = doubted
			}
			if at.Before(end) {
				end = at
				timer.Reset(end.Sub(now))
			}
		case <-ctx.Done():
			return false, w.over(ctx)
		case <-w.s.closing:
			return false, w.s.err(w.p.key)
		}
	}
}

// grace is how long a waiter that some nodes have notified waits for the missing
// nodes of a quorum. They mostly follow at once, because the release is on its way
// to them; an attempt before it arrives fails, and gets in the way of others. Where
// the nodes do not agree on whose turn it is, the waiter that more of them have
// notified comes first. A node that has notified it keeps the key for it for
// handOver. Waiters that are notified at one moment do not attempt at one.
func grace(missing int, took, handOver time.Duration) time.Duration {
	return min(time.Duration(missing)*(time.Millisecond+took), handOver/2) - below(100*time.Microsecond)
}

// nextLook is when to attempt again without a notification: just after a quorum
// could be free, with jitter so that processes do not attempt in step, and not later
// than limit. Attempts that have split the votes are about to release them, and
// follow at random, over a time that starts from what the attempt took and grows with
// each split: the slower the nodes are, the longer attempts get in each other's way.
// Readers that have the key may be such attempts; a few looks show it.
func nextLook(held *NotAcquiredError, limit, took time.Duration, splits int) time.Duration {
	d := limit
	if held.Split || held.MayBeSplit() && splits <= looksAtReaders {
		d = time.Millisecond + below((2*time.Millisecond+took)<<min(splits, 5))
	} else if held.FreeIn >= 0 {
		d = held.FreeIn + time.Millisecond + below(4*time.Millisecond)
	}
	return min(d, limit)
}

// looksAtReaders is how many looks in a row follow as after a split where readers
// have the key.
const looksAtReaders = 4

// blockSince is how many tokens an attempt may ask for, since after the one before.
// A grant that makes no quorum raises the counter of its node all the same. The
// counter must not outrun the clock, from which it starts where it is new, however
// often and by however many processes the key is attempted. A token of a key with a
// limit takes several numbers of it.
func blockSince(block, limit int, since time.Duration) int {
	const few, perNumber = 64, 8 * time.Microsecond
	return min(block, max(few, int(since/perNumber))/max(quorumlock.Classes(limit), 1))
}
