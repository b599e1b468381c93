package cluster

import "sync"

// attendance is who in this process waits for what: the nodes know the process only, whoever in it waits.
type attendance struct {
	mu sync.Mutex
	at map[string]int // by name
}

// Attend notes that somebody in this process waits for name, until Depart.
func (c *Cluster) Attend(name string) {
	a := &c.attending
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.at == nil {
		a.at = map[string]int{}
	}
	a.at[name]++
}

// Depart ends what Attend noted, and calls leave if nobody else in this process waits for name. leave must only send: whoever
// attends from now on waits for that, so that what they send comes behind it.
func (c *Cluster) Depart(name string, leave func()) {
	a := &c.attending
	a.mu.Lock()
	defer a.mu.Unlock()
	a.at[name]--
	if a.at[name] == 0 {
		delete(a.at, name)
		leave()
	}
}

// Unattended calls leave, as Depart does, if nobody in this process waits for name, and reports whether it did.
func (c *Cluster) Unattended(name string, leave func()) bool {
	a := &c.attending
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.at[name] > 0 {
		return false
	}
	leave()
	return true
}
