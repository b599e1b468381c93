package main

import (
	"net"
	"net/rpc"
	"sync"
)

// Database stands for one that all instances share: here it is in the process that starts them, which they call.
type Database struct {
	half chan struct{} // closed when killAt has been written
	dead chan struct{} // closed when its writer has been killed; it gets no answer

	mu     sync.Mutex
	users  map[string]string
	loads  int
	orders map[string]*order
}

// order is what the order store knows of one.
type order struct {
	newest int64            // the largest token that was seen
	done   map[string]int64 // each step with the token under which it was done
}

// steps are what is done for an order, each once.
var steps = []string{"reserve", "charge"}

// killAt is the write in the middle of an order.
var killAt = Write{Order: "42", Step: steps[0]}

func newDatabase() *Database {
	return &Database{half: make(chan struct{}), dead: make(chan struct{}), users: map[string]string{}, orders: map[string]*order{}}
}

// serve answers the calls of instances until l is closed.
func (d *Database) serve(l net.Listener) error {
	server := rpc.NewServer()
	if err := server.Register(d); err != nil {
		return err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go server.ServeConn(conn)
		}
	}()
	return nil
}

// User is a user's name, "" where there is none.
func (d *Database) User(id string, name *string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.loads++
	*name = d.users[id]
	return nil
}

// User is one with a name.
type User struct{ ID, Name string }

// SetUser stores one.
func (d *Database) SetUser(u User, _ *struct{}) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.users[u.ID] = u.Name
	return nil
}

// Write is one step of an order, under the token of the lock on it.
type Write struct {
	Order, Step string
	Token       int64
}

// Verdict is what the order store says of a Write.
type Verdict string

const (
	taken Verdict = "taken"
	again Verdict = "done before"
	stale Verdict = "refused: a newer token has been there"
)

// Write takes a step if nobody with a newer token has been there: the holder of an older one came too late, whatever it
// believes. A step that was done it does not do again: its writer may have died before it heard of it.
func (d *Database) Write(w Write, v *Verdict) error {
	*v = d.write(w)
	if w.Order == killAt.Order && w.Step == killAt.Step && *v == taken {
		close(d.half)
		<-d.dead
	}
	return nil
}

func (d *Database) write(w Write) Verdict {
	d.mu.Lock()
	defer d.mu.Unlock()
	o := d.orders[w.Order]
	if o == nil {
		o = &order{done: map[string]int64{}}
		d.orders[w.Order] = o
	}
	if w.Token < o.newest {
		return stale
	}
	o.newest = w.Token
	if o.done[w.Step] != 0 {
		return again
	}
	o.done[w.Step] = w.Token
	return taken
}

func (d *Database) userLoads() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.loads
}

// token is the one under which a step was done; 0: it was not.
func (d *Database) token(id, step string) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if o := d.orders[id]; o != nil {
		return o.done[step]
	}
	return 0
}
