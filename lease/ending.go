package lease

// lose ends a tenure that nobody released.
func (r *renewer) lose(t *tenure, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endLocked(t, reason)
}

// endLocked ends a tenure that nobody released, and its lease. What follows waits until every lease has ended whose time
// has come, for many may be lost together and their holders have to know before anybody else can have the keys: what is
// still ours is given back, the heir is notified, and the loss is logged.
func (r *renewer) endLocked(t *tenure, reason string) {
	r.dropLocked(t)
	if t.state == gone {
		return
	}
	overdue := t.state == lapsed // that was reported
	t.state = gone
	l, lost := t.lease, t.hold.Lost(reason)
	t.loss = lost
	if l != nil {
		l.end(lost) // under mu: who finds the tenure gone finds out why
	}
	r.afterLocked(func() {
		t.hold.GiveUp(lost)
		r.over(t, l)
		if l != nil {
			r.s.reportEnd(l, "lost")
			if !overdue {
				r.s.reportLoss(t, reason)
			}
		}
	})
}

// doAfter does the first n of what is left to do, and reports whether there is
// more.
func (r *renewer) doAfter(n int) (more bool) {
	r.mu.Lock()
	n = min(n, len(r.after))
	some := r.after[:n:n]
	r.after = r.after[n:]
	if more = len(r.after) > 0; !more {
		r.after = nil
	}
	r.mu.Unlock()
	for _, do := range some {
		do()
	}
	return more
}

// afterLocked has run do this when no deadline is due.
func (r *renewer) afterLocked(do func()) {
	r.after = append(r.after, do)
	r.ring()
}

func (r *renewer) over(t *tenure, l *Lease) {
	if t.heir != nil {
		t.heir.Over(l)
	}
}

// lossOf is why t was lost, nil if it was not.
func (r *renewer) lossOf(t *tenure) *LostError {
	r.mu.Lock()
	defer r.mu.Unlock()
	return t.loss
}
