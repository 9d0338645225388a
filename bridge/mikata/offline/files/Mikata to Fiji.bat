@echo off
rem ASCII only: cmd loses its place in a batch file with longer characters. Questions are in the folder texts.
setlocal EnableExtensions DisableDelayedExpansion
chcp 65001 >nul
set "FIJI=%~1"
if defined FIJI goto given
type "%~dp0texts\which-fiji.txt"
set /p "FIJI=> "
if not defined FIJI goto none
set "FIJI=%FIJI:"=%"
if not defined FIJI goto none
:given
rem A backslash at the end would hide the quote after it.
if "%FIJI:~-1%"=="\" set "FIJI=%FIJI:~0,-1%"
"%~dp0python\python.exe" -X utf8 -m mikata fiji install --fiji "%FIJI%"
set "STATUS=%ERRORLEVEL%"
pause
exit /b %STATUS%
:none
type "%~dp0texts\no-fiji.txt"
pause
exit /b 1
