# Makes a cell of SGE for tests on a head, as root. Its arguments are the nodes.
# Called again with no arguments, it only starts the controller.
set -e
export SGE_ROOT=/var/lib/gridengine SGE_CELL=default
common=$SGE_ROOT/$SGE_CELL/common spool=/var/spool/gridengine lib=/usr/lib/gridengine
as() { runuser -u sgeadmin -- "$@"; }

install -d -o sgeadmin -g sgeadmin /run/gridengine
# Every command asks a long script what this machine is.
arch=$("$SGE_ROOT/util/arch")
printf '#!/bin/sh\necho %s\n' "$arch" >"$SGE_ROOT/util/arch"
if [ $# -gt 0 ]; then
	install -d -o sgeadmin -g sgeadmin "$SGE_ROOT/$SGE_CELL" "$common" "$spool" \
		"$spool/qmaster" "$spool/qmaster/job_scripts" "$spool/spooldb"
	install -m 644 -o sgeadmin -g sgeadmin /usr/share/gridengine/default-bootstrap "$common/bootstrap"
	hostname | as tee "$common/act_qmaster" >/dev/null
	# What takes minutes elsewhere takes seconds here.
	sed -e 's/^load_report_time .*/load_report_time 00:00:03/' \
		-e 's/^max_unheard .*/max_unheard 00:00:12/' \
		-e 's/^reschedule_unknown .*/reschedule_unknown 00:00:08/' \
		-e 's/^reporting_params .*/reporting_params accounting=true reporting=false flush_time=00:00:01 joblog=false sharelog=00:00:00/' \
		-e 's/^mailer .*/mailer \/bin\/true/' \
		/usr/share/gridengine/default-configuration >/tmp/sge-configuration
	as $lib/spoolinit berkeleydb libspoolb $spool/spooldb init
	as $lib/spooldefaults configuration /tmp/sge-configuration
	as $lib/spooldefaults complexes /usr/share/gridengine/util/resources/centry
	as $lib/spooldefaults usersets /usr/share/gridengine/util/resources/usersets
	as $lib/spooldefaults managers sgeadmin
	rm /tmp/sge-configuration
fi

env -i PATH="$PATH" SGE_ROOT=$SGE_ROOT SGE_CELL=$SGE_CELL SGE_QMASTER_PIDFILE=/run/gridengine/qmaster.pid $lib/sge_qmaster
[ $# -gt 0 ] || exit 0
i=0
until as $lib/qconf -sh >/dev/null 2>&1; do
	[ $((i += 1)) -lt 100 ] || { echo "the controller does not answer" >&2; exit 1; }
	sleep 0.1
done

work=$(mktemp -d)
chmod 755 "$work"
cd "$work"
for h; do as $lib/qconf -ah "$h"; done
as $lib/qconf -as "$(hostname)"
$lib/qconf -ssconf | sed -e 's/^schedule_interval .*/schedule_interval 0:0:1/' \
	-e 's/^flush_submit_sec .*/flush_submit_sec 1/' -e 's/^flush_finish_sec .*/flush_finish_sec 1/' \
	-e 's/^queue_sort_method .*/queue_sort_method seqno/' -e 's/^load_formula .*/load_formula slots/' >scheduler
$lib/qconf -Msconf scheduler

for h; do
	cat >host <<-EOF
		hostname $h
		load_scaling NONE
		complex_values NONE
		user_lists NONE
		xuser_lists NONE
		projects NONE
		xprojects NONE
		usage_scaling NONE
		report_variables NONE
	EOF
	$lib/qconf -Ae host
done
printf 'group_name @allhosts\nhostlist %s\n' "$*" >group
$lib/qconf -Ahgrp group

pe() { # NAME RULE
	cat >pe <<-EOF
		pe_name $1
		slots 999
		user_lists NONE
		xuser_lists NONE
		start_proc_args NONE
		stop_proc_args NONE
		allocation_rule $2
		control_slaves TRUE
		job_is_first_task FALSE
		urgency_slots min
		accounting_summary FALSE
		qsort_args NONE
	EOF
	$lib/qconf -Ap pe
}
pe mpi '$round_robin'
pe onepernode 1
pe smp '$pe_slots'

queue() { # NAME SEQUENCE H_RT S_RT
	$lib/qconf -sq | sed -e "s/^qname.*/qname $1/" -e 's/^hostlist .*/hostlist @allhosts/' -e "s/^seq_no .*/seq_no $2/" \
		-e 's/^slots .*/slots 2/' -e 's/^pe_list .*/pe_list mpi onepernode smp/' -e 's#^shell .*#shell /bin/sh#' \
		-e 's/^shell_start_mode .*/shell_start_mode unix_behavior/' -e 's/^load_thresholds .*/load_thresholds NONE/' \
		-e 's/^notify .*/notify 00:00:05/' -e "s/^h_rt .*/h_rt $3/" -e "s/^s_rt .*/s_rt $4/" >queue
	$lib/qconf -Aq queue
}
queue all.q 0 INFINITY INFINITY
queue short.q 10 00:01:00 00:00:50
cd /
rm -r "$work"
