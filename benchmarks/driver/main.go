//go:build unix

// Command driver puts load on one lock library and measures it, as the
// benchmark program orders: see package turn.
package main

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/benchmarks/internal/turn"
)

func main() {
	redis.SetLogger(silent{}) // the figures show what go-redis logs of a frozen node
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "benchmarks: driver:", err)
		os.Exit(1)
	}
}

// silent drops what go-redis logs.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// serve executes orders until there are no more.
func serve(orders io.Reader, replies io.Writer) error {
	in, out := gob.NewDecoder(orders), gob.NewEncoder(replies)
	var d driver
	for {
		var o turn.Order
		if err := in.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		reply := turn.Reply{Version: turn.Version}
		var err error
		if reply.Sample, err = d.execute(o); err != nil {
			reply.Error = err.Error()
		}
		if err := out.Encode(reply); err != nil {
			return err
		}
	}
}

// driver is a library that is open.
type driver struct {
	library locker
	open    turn.Open
	leases  []held
}

// held is a lease that is renewed in the background.
type held interface {
	Err() error
	renewed() int64 // ns by which renewals have moved the deadline, from an arbitrary origin
}

func (d *driver) execute(o turn.Order) (turn.Sample, error) {
	switch {
	case o.Open != nil:
		open, ok := openers[o.Open.Library]
		if !ok {
			return turn.Sample{}, fmt.Errorf("the driver does not know the library %q", o.Open.Library)
		}
		library, err := open(*o.Open)
		if err != nil {
			return turn.Sample{}, err
		}
		d.library, d.open = library, *o.Open
		return turn.Sample{}, nil
	case d.library == nil:
		return turn.Sample{}, errors.New("the first order must be Open")
	case o.Drive != nil:
		return drive(d.library, *o.Drive), nil
	case o.Acquire != nil:
		return d.acquire(*o.Acquire)
	case o.Keep > 0:
		return d.keep(o.Keep), nil
	case o.Hold != "":
		return turn.Sample{}, d.hold(o.Hold)
	default:
		return turn.Sample{}, errors.New("the order is empty: program and driver are of different versions")
	}
}

// hold returns when key is held. The key stays held until the process ends.
func (d *driver) hold(key string) error {
	result := make(chan error, 2) // held, or why not
	go func() {
		result <- d.library.under(context.Background(), key, func(turn.Hold) {
			result <- nil
			select {}
		})
	}()
	select {
	case err := <-result:
		return err
	case <-time.After(time.Minute):
		return fmt.Errorf("%q was not acquired within a minute", key)
	}
}
