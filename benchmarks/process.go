//go:build unix

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// order is what a child process is told.
type order struct {
	Name    string        `json:"name"`
	URLs    []string      `json:"urls"`
	TTL     time.Duration `json:"ttl"`
	Traffic traffic       `json:"traffic"`
	Hold    string        `json:"hold,omitempty"` // instead of traffic: hold this key until killed
}

// orderVariable holds the order in a child's environment.
const orderVariable = "REDLOCK_BENCHMARKS_ORDER"

// child is this program once more.
type child struct {
	cmd   *exec.Cmd
	lines *bufio.Reader
	start func() error
}

// startChild starts this program again, to do as ordered. It prints "ready", and its sample at the end.
func startChild(o order) (*child, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), orderVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &child{cmd: cmd, lines: bufio.NewReader(out), start: in.Close}, nil
}

func (c *child) awaitReady() error {
	line, err := c.lines.ReadString('\n')
	if err == nil && line != "ready\n" {
		err = fmt.Errorf("a child printed %q", line)
	}
	return err
}

// begin lets the traffic start: the end of the child's input says so.
func (c *child) begin() error { return c.start() }

func (c *child) result() (sample, error) {
	var s sample
	err := json.NewDecoder(c.lines).Decode(&s)
	return s, err
}

// end kills the child, if it has not ended, and takes it in.
func (c *child) end() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

// obey is what a child does.
func obey(text string) error {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	l, err := openers[o.Name](o.URLs, o.TTL)
	if err != nil {
		return err
	}
	defer l.close()
	if o.Hold != "" {
		return l.under(context.Background(), o.Hold, func(int64) {
			fmt.Println("ready")
			_, _ = io.Copy(io.Discard, os.Stdin) // until it is killed, or the parent ends
		})
	}
	warm := o.Traffic
	warm.Key, warm.Shared, warm.For = fmt.Sprintf("warm:%d", os.Getpid()), false, o.Traffic.For/5
	drive(l, warm)
	fmt.Println("ready")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(drive(l, o.Traffic))
}
