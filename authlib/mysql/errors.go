package mysql

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/go-sql-driver/mysql"

	"mailproxy/authlib/sqlaccount"
)

// printable are the characters of ASCII that need no second thought in any character set.
const printable = " !\"#$%&'()*+,-./0123456789:;<=>?@" +
	"ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"

// Error numbers of the server, from its reference manual.
const (
	errShutdown         = 1053
	errNoStatement      = 1243
	errMixOfCollations  = 1267
	errTruncatedValue   = 1292
	errBadCharacter     = 1300
	errWrongString      = 1366
	errReprepare        = 1615
	errConnectionKilled = 1927
	errCannotConvert    = 3854
	errIdleTooLong      = 4031
)

// gone tells the errors after which the same question may well be answered on a new connection: not those of
// making one, and not that time is over.
func gone(err error) bool {
	var server *mysql.MySQLError
	if errors.As(err, &server) {
		switch server.Number {
		case errShutdown, errNoStatement, errReprepare, errConnectionKilled, errIdleTooLong:
			return true
		}
		return false
	}
	var network *net.OpError
	if errors.As(err, &network) {
		return network.Op != "dial" && !network.Timeout()
	}
	return errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) ||
		errors.Is(err, io.ErrUnexpectedEOF)
}

// classify tells a value that no row can have from a query that does not work.
func classify(err error, v *sqlaccount.Values) error {
	var server *mysql.MySQLError
	if !errors.As(err, &server) {
		return err
	}
	switch server.Number {
	case errTruncatedValue, errBadCharacter, errWrongString, errCannotConvert:
		return fmt.Errorf("%w: %w", sqlaccount.ErrValue, err)
	case errMixOfCollations:
		// A column in a smaller character set than the connection's is compared to a name that it cannot hold.
		if strings.Trim(v.User, printable) != "" {
			return fmt.Errorf("%w: %w", sqlaccount.ErrValue, err)
		}
	}
	return err
}
