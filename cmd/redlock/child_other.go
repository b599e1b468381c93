//go:build !unix

package main

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

// child is the command. Without process groups and signals it can only be
// killed. It receives Ctrl-C directly, like every program on the same console.
type child struct {
	process *os.Process
	stopped chan syscall.Signal // never sent to
	exited  chan int            // the exit code
}

func notifySignals() chan os.Signal {
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	return signals
}

func start(path string, argv, env []string, _ chan<- os.Signal) (*child, error) {
	cmd := &exec.Cmd{Path: path, Args: argv, Env: env, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &child{process: cmd.Process, stopped: make(chan syscall.Signal), exited: make(chan int, 1)}
	go func() {
		err := cmd.Wait()
		var exit *exec.ExitError
		switch {
		case err == nil:
			c.exited <- 0
		case errors.As(err, &exit):
			c.exited <- exit.ExitCode()
		default:
			c.exited <- exitFailure
		}
	}()
	return c, nil
}

func (c *child) signal(os.Signal)            {}
func (c *child) terminate()                  { c.kill() }
func (c *child) kill()                       { _ = c.process.Kill() }
func (c *child) leftovers() bool             { return false }
func (c *child) suspend(syscall.Signal) bool { return false }
func (c *child) resume()                     {}
func (c *child) reclaim()                    {}
