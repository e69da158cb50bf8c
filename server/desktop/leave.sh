#!/bin/sh
# The panel's "Leave": asks what is meant. $1 is the folder of the desktop's files.
pkill -x fuzzel && exit
wish=$(printf '%s\n' 'Leave this desk, everything goes on' 'Lock the screen' 'Log out, programs are closed' |
    fuzzel --config="$1/fuzzel.ini" --dmenu --prompt='' --lines=3)
case $wish in
Leave*) exec heliostat-leave detach ;;
Lock*) exec heliostat-leave lock ;;
Log*) exec heliostat-leave logout ;;
esac
