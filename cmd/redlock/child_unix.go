//go:build unix

package main

import (
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// child is the command, the leader of a process group of its own, so that all
// it starts can be signalled together. Its methods are for one goroutine.
//
// # The terminal
//
// Only one process group, the foreground, may read a terminal; others are
// stopped if they try. Ctrl-C and Ctrl-Z signal only the foreground. If redlock
// is in the foreground and not part of a pipeline, the command gets the
// foreground at once. In a pipeline, whose other members may need the terminal,
// it gets the foreground when it is stopped for using the terminal. When Ctrl-Z
// stops the command, redlock takes the foreground back and stops itself, so
// that the shell notices. Nothing renews the lock then. When redlock is
// continued, it first checks whether the lock has survived the pause.
type child struct {
	group   int
	stopped chan syscall.Signal // the signal with which job control has stopped the command; suspend and resume must follow
	exited  chan int            // the exit code

	own   int  // redlock's process group
	tty   int  // -1: no controlling terminal
	wants bool // the command becomes the foreground whenever redlock could be
	lent  bool // the command was made the foreground
}

// passed are the signals that are passed on to the command; before it runs they
// end redlock.
var passed = []os.Signal{
	syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2,
}

// companions are also passed on; before the command runs they have their usual
// effect.
var companions = []os.Signal{syscall.SIGTSTP, syscall.SIGCONT, syscall.SIGWINCH}

func notifySignals() chan os.Signal {
	signals := make(chan os.Signal, 64)
	listen(signals, passed)
	return signals
}

// listen receives all signals except those that were ignored when redlock
// began, as under nohup: they stay ignored, also in the command.
func listen(signals chan<- os.Signal, all []os.Signal) {
	for _, sig := range all {
		if !signal.Ignored(sig) {
			signal.Notify(signals, sig)
		}
	}
}

// start runs the command. From then on more kinds of signals are sent to signals.
func start(path string, argv, env []string, signals chan<- os.Signal) (*child, error) {
	own, err := unix.Getpgid(0)
	if err != nil {
		return nil, err
	}
	c := &child{stopped: make(chan syscall.Signal, 1), exited: make(chan int, 1), own: own, tty: openTTY()}
	cmd := &exec.Cmd{
		Path: path, Args: argv, Env: env, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		SysProcAttr: dieWithParent(&syscall.SysProcAttr{Setpgid: true}),
	}
	begun := make(chan error)
	go func() {
		runtime.LockOSThread() // forever: the kernel kills the command when the thread that started it ends
		err := cmd.Start()
		begun <- err
		if err == nil {
			c.wait(cmd.Process.Pid)
		}
	}()
	if err := <-begun; err != nil {
		return nil, err
	}
	c.group = cmd.Process.Pid
	listen(signals, companions)
	signal.Ignore(syscall.SIGTTOU) // not earlier, or the command would ignore it too
	if c.wants = owns(0, c.own) && owns(1, c.own); c.wants {
		c.resume()
	}
	return c, nil
}

// wait follows the command until it ends, on the thread that started it.
func (c *child) wait(pid int) {
	for {
		var status syscall.WaitStatus
		_, err := syscall.Wait4(pid, &status, syscall.WUNTRACED, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil: // impossible: no other goroutine waits for it
			c.exited <- exitFailure
			return
		case status.Exited():
			c.exited <- status.ExitStatus()
			return
		case status.Signaled():
			c.exited <- exitSignal + int(status.Signal())
			return
		case status.Stopped():
			c.stopped <- status.StopSignal()
		}
	}
}

func openTTY() int {
	fd, err := unix.Open("/dev/tty", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	return fd
}

// owns reports whether fd is the controlling terminal and group its foreground.
func owns(fd, group int) bool {
	front, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	return err == nil && front == group
}

// signal passes sig on to all of the command's process group.
func (c *child) signal(sig os.Signal) {
	if s, ok := sig.(syscall.Signal); ok {
		_ = syscall.Kill(-c.group, s) // it may have just ended
	}
}

// terminate asks the process group to end, and resumes it if it is stopped.
func (c *child) terminate() {
	c.signal(syscall.SIGTERM)
	c.signal(syscall.SIGCONT)
}

func (c *child) kill() { c.signal(syscall.SIGKILL) }

// leftovers reports whether the process group has members after the command
// itself has ended.
func (c *child) leftovers() bool { return syscall.Kill(-c.group, 0) == nil }

// pause is how long redlock waits for its own stop to take effect. In a process
// group without a shell the stop has no effect.
const pause = 100 * time.Millisecond

// suspend handles a command that was stopped. It reports whether the command
// should continue; false means that redlock does not decide that.
func (c *child) suspend(why syscall.Signal) (goOn bool) {
	switch {
	case c.tty < 0 || why == syscall.SIGSTOP:
		return false // not job control: the sender of the signal can continue it
	case why != syscall.SIGTSTP && (owns(c.tty, c.own) || c.lent && owns(c.tty, c.group)):
		c.wants = true // it used the terminal, and can have the foreground, or had it just before
		return true
	}
	c.reclaim()
	c.signal(syscall.SIGSTOP) // also processes in the group that ignore SIGTSTP, because nothing renews the lock now
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, syscall.SIGCONT)
	// Not SIGTSTP, whose default effect Go does not restore after Notify, and
	// not SIGSTOP, from which nothing would wake us without a shell.
	_ = syscall.Kill(0, syscall.SIGTTIN)
	select {
	case <-continued:
	case <-time.After(pause):
	}
	signal.Stop(continued)
	return true
}

// resume lets the command continue, in the foreground if it belongs there.
func (c *child) resume() {
	if c.wants && c.tty >= 0 && owns(c.tty, c.own) {
		c.lent = unix.IoctlSetPointerInt(c.tty, unix.TIOCSPGRP, c.group) == nil
	}
	c.signal(syscall.SIGCONT) // also at the start: the command may have been stopped for reading before it was in the foreground
}

// reclaim takes the foreground back.
func (c *child) reclaim() {
	if c.lent {
		c.lent = false
		_ = unix.IoctlSetPointerInt(c.tty, unix.TIOCSPGRP, c.own)
	}
}
