package main

import (
	"errors"
	"fmt"
	"sync"
)

var errProcessed = errors.New("the order was processed before")

// database stands for one that all instances share.
type database struct {
	mu     sync.Mutex
	users  map[string]string
	loads  int
	newest map[string]int64 // the largest token that was seen for an order
	orders map[string]int64 // the token under which it was processed
}

func newDatabase(users map[string]string) *database {
	return &database{users: users, newest: map[string]int64{}, orders: map[string]int64{}}
}

func (d *database) user(id string) (name string, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.loads++
	name, ok = d.users[id]
	return name, ok
}

func (d *database) setUser(id, name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.users[id] = name
}

func (d *database) reads() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.loads
}

// process refuses a token older than the newest it has seen: its holder came too late.
func (d *database) process(order string, token int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if token < d.newest[order] {
		return fmt.Errorf("token %d is older than %d: another holder has been there", token, d.newest[order])
	}
	d.newest[order] = token
	if _, done := d.orders[order]; done {
		return errProcessed
	}
	d.orders[order] = token
	return nil
}
