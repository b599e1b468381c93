package cluster

import "sync"

// attendance is who in this process waits for what: the nodes know the process only, whoever in it waits.
type attendance struct {
	mu sync.Mutex
	at map[string]attended // by name
}

type attended struct {
	n     int
	stood bool // the nodes may know that the process waits
}

// Attend notes that somebody in this process waits for name, until Depart.
func (c *Cluster) Attend(name string) {
	a := &c.attending
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.at == nil {
		a.at = map[string]attended{}
	}
	was := a.at[name]
	was.n++
	a.at[name] = was
}

// Depart ends what Attend noted; stood says that the nodes may have heard of it. It calls leave, which is told whether others
// in this process still wait for name; if none does, only where the nodes may know of the process, by whoever departed since it
// began to wait. leave must only send: whoever attends from now on waits for that, so that what they send comes behind it.
func (c *Cluster) Depart(name string, stood bool, leave func(others bool)) {
	a := &c.attending
	a.mu.Lock()
	defer a.mu.Unlock()
	was := a.at[name]
	was.n--
	was.stood = was.stood || stood
	if was.n > 0 {
		a.at[name] = was
		leave(true)
		return
	}
	delete(a.at, name)
	if was.stood {
		leave(false)
	}
}

// Attended calls fn, as Depart calls leave, if somebody in this process waits for name.
func (c *Cluster) Attended(name string, fn func()) {
	a := &c.attending
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.at[name].n > 0 {
		fn()
	}
}

// Unattended calls leave, as Depart does, if nobody in this process waits for name, and reports whether it did.
func (c *Cluster) Unattended(name string, leave func()) bool {
	a := &c.attending
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.at[name].n > 0 {
		return false
	}
	leave()
	return true
}
