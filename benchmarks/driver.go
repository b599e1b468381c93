//go:build unix

package main

import (
	"cmp"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/venta-hq/redlock/benchmarks/internal/turn"
)

// driver is a running driver process.
type driver struct {
	cmd     *exec.Cmd
	in      *gob.Encoder
	replies *gob.Decoder
}

// startDriver runs the driver program at path until kill, or until ctx ends.
func startDriver(ctx context.Context, path string) (*driver, error) {
	cmd := exec.CommandContext(ctx, path)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &driver{cmd, gob.NewEncoder(in), gob.NewDecoder(out)}, nil
}

// execute sends an order and waits for the reply.
func (d *driver) execute(o turn.Order) (turn.Sample, error) {
	if err := d.send(o); err != nil {
		return turn.Sample{}, err
	}
	return d.receive()
}

func (d *driver) send(o turn.Order) error {
	if err := d.in.Encode(o); err != nil {
		return fmt.Errorf("the driver has ended: %w", err)
	}
	return nil
}

func (d *driver) receive() (turn.Sample, error) {
	var r turn.Reply
	err := d.replies.Decode(&r)
	switch {
	case err != nil:
		return turn.Sample{}, fmt.Errorf("the driver ended without a reply: %w", err)
	case r.Version != turn.Version:
		return turn.Sample{}, fmt.Errorf("the driver speaks version %d of the protocol, this program version %d: compare with a newer revision", r.Version, turn.Version)
	case r.Error != "":
		return turn.Sample{}, errors.New(r.Error)
	}
	return r.Sample, nil
}

// kill ends the driver the way a crash does. What it held ends with the servers
// of the turn.
func (d *driver) kill() {
	_ = d.cmd.Process.Kill()
	_ = d.cmd.Wait()
}

// module is a directory with the module of the benchmarks.
type module struct {
	dir     string
	modFile string // instead of its go.mod; "" for that one
}

// buildDriver compiles the driver of a module into a file.
func buildDriver(ctx context.Context, m module, file string) error {
	args := []string{"-C", m.dir, "build", "-buildvcs=false", "-ldflags", "-s -w", "-o", file}
	if m.modFile != "" {
		args = append(args, "-modfile", m.modFile, "-mod", "mod")
	}
	_, err := run(ctx, "go", append(args, "./driver")...)
	return err
}

// run runs a command of a tool and returns its output. The error contains what
// the command wrote to standard error.
func run(ctx context.Context, tool string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, tool, args...)
	cmd.Env = append(os.Environ(), "GOWORK=off")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // the go command removes its temporary files
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.Output()
	if err == nil {
		return string(out), nil
	}
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return "", errors.New(cmp.Or(string(exit.Stderr), err.Error()))
	}
	return "", err
}

// workshop is a temporary directory for what a run of the program builds.
func workshop() (dir string, remove func(), err error) {
	dir, err = os.MkdirTemp("", "redlock-benchmarks-")
	if err != nil {
		return "", nil, err
	}
	return dir, func() { _ = os.RemoveAll(dir) }, nil
}

// here is the directory of the benchmarks, in which the program runs.
func here() (string, error) {
	dir, err := filepath.Abs(".")
	if err != nil {
		return "", err
	}
	if _, err := os.Stat("driver/main.go"); err != nil {
		return "", errors.New("run this in its own directory, as go -C benchmarks run . does")
	}
	return dir, nil
}
